"""The accuracy of the VQA challenges, with its normalisation of answers."""

import re
from collections.abc import Sequence

from schedsearch.evaluation.metrics.base import GeneratedMetric, checked_length

ANNOTATORS = 10

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_DIGIT_GROUPS = re.compile(r"\d,\d")
_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
    mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
    should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've there're
    there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
    why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
    you'd've you'll you're you've
""".split()
_MISSPELT = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS
    for place, letter in enumerate(word)
    if letter == "'"
}
"""Each contraction with one apostrophe missing; words that mean something else are not listed."""


class VqaAccuracy(GeneratedMetric):
    """Agreement of the greedy answer with the annotators, both normalised.

    With ten or more answers: the mean, over all ways to leave one annotator out, of
    `min(equal answers among the others / 3, 1)`. With fewer: 1 if any answer is equal, else 0.

    Source: arXiv 1505.00468 and the evaluation code of VQA v2 (`vqaEval.py`).
    Differs: references are always normalised like the prediction, where that code leaves them
    alone if all agree, and otherwise handles their punctuation only; its entries that change a
    correctly spelt word are left out.

    Args:
        max_new_tokens: Longest answer.
    """

    name = "vqa_accuracy"
    greatest = 1.0
    least = 0.0

    def __init__(self, max_new_tokens: int = 16) -> None:
        self.max_new_tokens = checked_length(max_new_tokens)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """In [0, 1]."""
        said = normalise(prediction)
        equal = sum(normalise(answer) == said for answer in answers)
        if len(answers) < ANNOTATORS:
            return float(equal > 0)
        left_out_equal = equal * min((equal - 1) / 3, 1)
        left_out_other = (len(answers) - equal) * min(equal / 3, 1)
        return (left_out_equal + left_out_other) / len(answers)


def normalise(answer: str) -> str:
    """Lower case, no articles, digits for number words, no punctuation, apostrophes restored.

    A mark becomes a space; it vanishes where it stands beside a space somewhere in the answer, or
    where the answer has a number with commas. Periods stay before digits only.
    """
    text = " ".join(answer.split())
    grouped = _DIGIT_GROUPS.search(text) is not None
    result = text
    for mark in _MARKS:
        vanishes = grouped or f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if vanishes else " ")
    words = _PERIOD.sub("", result).lower().split()
    digits = (_NUMBERS.get(word, word) for word in words)
    return " ".join(_MISSPELT.get(word, word) for word in digits if word not in _ARTICLES)
