from collections.abc import Iterator
from dataclasses import dataclass

from schedsearch.core.sample import FirstSamples, Sample, Split


@dataclass(frozen=True)
class Numbers:
    name: str = "numbers"
    split: Split = "calibration"

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(str(i), f"{i} ?", ("yes",), ()) for i in range(5))

    def digest(self) -> str:
        return "numbers"


def test_first_samples_are_the_beginning_of_the_set():
    first = FirstSamples(Numbers(), 3)
    assert [sample.id for sample in first] == ["0", "1", "2"]
    assert (len(first), first.name, first.split) == (3, "numbers", "calibration")


def test_a_longer_limit_takes_the_whole_set():
    assert len(FirstSamples(Numbers(), 9)) == 5


def test_digest_depends_on_the_number_of_samples_alone():
    assert FirstSamples(Numbers(), 3).digest() != FirstSamples(Numbers(), 4).digest()
    assert FirstSamples(Numbers(), 5).digest() == FirstSamples(Numbers(), 9).digest()
