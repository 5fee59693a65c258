"""Who applies a schedule loads nothing of what searches one."""

import subprocess
import sys

APPLIED = """
import sys

import torch
from transformers import LlavaForConditionalGeneration

from schedsearch import Schedule, reduce
from schedsearch.demo import checkpoint_path

model = LlavaForConditionalGeneration.from_pretrained(checkpoint_path()).eval()
ids = torch.tensor([[5, *[model.config.image_token_id] * 64, 6, 7]])
pixels = torch.zeros(1, 3, *[model.config.vision_config.image_size] * 2)
schedule = Schedule((1.0, 1.0, *[0.5] * 6))
with torch.no_grad(), reduce(model, schedule) as reduction:
    model(input_ids=ids, pixel_values=pixels)
    assert reduction.kept[2].shape == (1, 35), reduction.kept[2].shape
rooms = ("evaluation", "samplers", "store", "execution", "app", "cli")
print([name for name in sys.modules if name.split(".")[:2] in [["schedsearch", r] for r in rooms]])
"""


def test_applying_a_schedule_loads_neither_evaluation_nor_search_nor_store() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", APPLIED], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().splitlines()[-1] == "[]"
