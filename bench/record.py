"""Raw figures of a benchmark as JSON, with what they were measured on."""

import argparse
import json
import platform
from typing import Any

import torch
import transformers


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Write all rows so far to `args.out`, if it is given; a run that is cut off leaves them."""
    if args.out is None:
        return
    body = {
        "settings": {key: value for key, value in vars(args).items() if key != "out"},
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(body, indent=2) + "\n")
