"""Which columns of a padded batch are vision, text, padding and the ranking row."""

import torch

from schedsearch.models.prompt import make_prompt

IMAGE = 9
LEFT = torch.tensor([[0, 0, 1, IMAGE, IMAGE, 2], [1, IMAGE, IMAGE, IMAGE, 3, 4]])
RIGHT = torch.tensor([[1, IMAGE, IMAGE, 2, 0, 0], [1, IMAGE, IMAGE, IMAGE, 3, 4]])


def test_padding_on_either_side_leaves_counts_and_last_rows_of_the_prompt() -> None:
    for ids, last in ((LEFT, [5, 5]), (RIGHT, [3, 5])):
        prompt = make_prompt(ids, ids == IMAGE, (ids != 0).long())

        assert prompt.last_row.tolist() == last
        assert (prompt.n_vision, prompt.n_other) == ((2, 3), (2, 3))
        assert torch.equal(prompt.vision, ids == IMAGE)


def test_without_a_mask_every_column_counts() -> None:
    prompt = make_prompt(LEFT, LEFT == IMAGE, None)

    assert prompt.n_other == (4, 3)
    assert prompt.valid.all()


def test_padding_is_never_vision() -> None:
    ids = torch.tensor([[IMAGE, IMAGE, 1, IMAGE, 2]])

    prompt = make_prompt(ids, ids == IMAGE, torch.tensor([[0, 0, 1, 1, 1]]))

    assert prompt.n_vision == (1,)
    assert prompt.n_other == (2,)


def test_candidates_behind_the_width_of_the_prompt_neither_rank_nor_count_as_vision() -> None:
    ids = torch.tensor([[1, IMAGE, IMAGE, 2, IMAGE, 3]])

    prompt = make_prompt(ids, ids == IMAGE, None, width=4)

    assert prompt.last_row.tolist() == [3]
    assert (prompt.n_vision, prompt.n_other) == ((2,), (4,))


def test_keys_default_to_a_hash_of_the_tokens_without_padding() -> None:
    left = make_prompt(LEFT, LEFT == IMAGE, (LEFT != 0).long())
    right = make_prompt(RIGHT, RIGHT == IMAGE, (RIGHT != 0).long())

    assert left.keys == right.keys
    assert len(set(left.keys)) == 2


def test_given_keys_name_groups_of_rows() -> None:
    ids = LEFT.repeat_interleave(3, dim=0)

    prompt = make_prompt(ids, ids == IMAGE, None, keys=["a", "b"])

    assert prompt.keys == ("a", "a", "a", "b", "b", "b")
