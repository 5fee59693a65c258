"""The OpenAPI document of the REST interface, as it is checked in.

python -m schedsearch.service.openapi docs/api/openapi-1.json
python -m schedsearch.service.openapi --check docs/api/openapi-1.json
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from schedsearch.service.app import make_app
from schedsearch.service.settings import ServiceSettings


def document() -> str:
    """The document as text."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        app = make_app(ServiceSettings(str(place / "store.db"), place / "service"))
        made = app.openapi()
        app.state.office.store.close()
    made["info"]["version"] = "1"  # of the interface, not of the package
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write the document, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="only compare")
    args = parser.parse_args()
    found = document()
    if not args.check:
        args.file.parent.mkdir(parents=True, exist_ok=True)
        args.file.write_text(found)
    elif args.file.read_text() != found:
        sys.exit(
            f"{args.file} differs from the code; "
            f"run `python -m schedsearch.service.openapi {args.file}` and look at the change"
        )


if __name__ == "__main__":
    main()
