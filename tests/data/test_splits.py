"""Splits: deterministic, without leakage, every class in train, sensible for small sets."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import pytest

from vidiff.data.index import Entry, Index, build_index
from vidiff.data.splits import Split, group_keys, make_splits
from vidiff.errors import UsageError


def entry(path, label=None, split=None, group=None, sha=None):
    return Entry(path, "video", 20, 10.0, 64, 64, label, split, group, label, sha or path)


def index_of(entries):
    return Index(Path("."), "test", tuple(entries), ())


def people(classes=4, performers=9):
    return index_of(entry(f"{c}/{p:03d}.mp4", str(c)) for c in range(classes) for p in range(performers))


@pytest.mark.parametrize("count", [3, 4, 10, 36, 101])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_parts_are_a_division_with_the_shares_asked_for(count, seed):
    index = index_of(entry(f"{i}.mp4") for i in range(count))
    parts = make_splits(index, Split(0.1, 0.2, seed=seed))
    assert sorted(itertools.chain(*parts.values())) == list(range(count))
    assert len(parts["val"]) == max(1, round(0.1 * count)) and len(parts["test"]) == max(1, round(0.2 * count))
    assert parts == make_splits(index, Split(0.1, 0.2, seed=seed))
    assert all(part == sorted(part) for part in parts.values())


def test_seed_changes_the_split_and_names_do_not():
    a = index_of(entry(f"{i}.mp4", sha=f"s{i}") for i in range(50))
    renamed = index_of(entry(f"new/{i}.mp4", sha=f"s{i}") for i in range(50))
    assert make_splits(a, Split(seed=0)) != make_splits(a, Split(seed=1))
    assert make_splits(a) == make_splits(renamed)


def test_a_rendered_set_is_divided_alike_whatever_an_encoder_makes_of_it(tmp_path):
    here = index_of(entry(f"{i}.mp4", sha=f"one machine {i}") for i in range(50))
    there = index_of(entry(f"{i}.mp4", sha=f"another {i}") for i in range(50))
    assert make_splits(here) != make_splits(there)
    (tmp_path / "shapes.json").write_text("{}")
    here, there = (Index(tmp_path, "test", index.entries, ()) for index in (here, there))
    assert make_splits(here) == make_splits(there)
    assert make_splits(here, Split(seed=1)) != make_splits(here)


def test_too_few_videos_validate_on_train_and_say_so():
    for count in (1, 2):
        with pytest.warns(UserWarning, match="too few"):
            parts = make_splits(index_of(entry(f"{i}.mp4") for i in range(count)))
        assert parts["val"] == parts["test"] == parts["train"] == list(range(count))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_splits(index_of([entry("a"), entry("b")]), Split(0, 0))["val"] == []


@pytest.mark.parametrize("sizes", [(9, 9, 9, 9), (50, 3, 2, 1), (2, 2, 2), (1, 1, 30)])
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.45, 0.45)])
def test_every_class_stays_in_train_and_shares_are_even(sizes, shares):
    index = index_of(entry(f"{c}/{i}", str(c)) for c, n in enumerate(sizes) for i in range(n))
    parts = make_splits(index, Split(*shares))
    labels = {name: [index.entries[i].label for i in part] for name, part in parts.items()}
    assert set(labels["train"]) == {str(c) for c in range(len(sizes))}
    assert parts["val"] and parts["test"] and not set(parts["train"]) & set(parts["val"] + parts["test"])
    if sizes == (9, 9, 9, 9) and shares == (0.1, 0.1):
        assert sorted(labels["val"]) == sorted(labels["test"]) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("group_by", ["class_order", r"name:(\d+)\.mp4"])
def test_performers_do_not_leak(group_by):
    index = people()
    parts = make_splits(index, Split(group_by=group_by))
    performers = {name: {index.entries[i].path[2:] for i in part} for name, part in parts.items()}
    assert len(performers["val"]) == len(performers["test"]) == 1 and len(performers["train"]) == 7
    assert len(parts["val"]) == 4
    for a, b in itertools.combinations(performers.values(), 2):
        assert not a & b


def test_copies_and_manifest_groups_stay_together():
    copies = index_of(entry(f"{i}.mp4", sha=f"s{i // 4}") for i in range(40))
    grouped = index_of(entry(f"{i}.mp4", group=f"g{i % 10}") for i in range(40))
    for index, key in ((copies, lambda e: e.sha256), (grouped, lambda e: e.group)):
        parts = make_splits(index, Split(0.2, 0.2))
        owners = [{key(index.entries[i]) for i in part} for part in parts.values()]
        assert [len(o) for o in owners] == [6, 2, 2] and not any(a & b for a, b in itertools.combinations(owners, 2))


def test_given_splits_are_kept_and_what_lacks_is_taken_from_train():
    given = [entry(f"t{i}", split="train") for i in range(10)] + [entry("x", split="test"), entry("y", split="test")]
    parts = make_splits(index_of(given))
    assert parts["test"] == [10, 11] and len(parts["val"]) == 1 and set(parts["val"]) < set(range(10))
    with pytest.raises(UsageError, match="assign all or none"):
        make_splits(index_of([*given, entry("z")]))
    with pytest.raises(UsageError, match="train"):
        make_splits(index_of([entry("x", split="test")]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(val=1.0), "split.val"),
        (dict(val=0.5, test=0.5), "something to train on"),
        (dict(group_by="person"), "name:REGEX"),
        (dict(group_by="name:["), "not a regular expression"),
        (dict(group_by="name:abc"), "one capture group"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Split(**options)


def test_pattern_must_match_every_path():
    with pytest.raises(UsageError, match="does not match 0/000.mp4"):
        group_keys(list(people().entries), "name:(person.)")


def test_weizmann_performers(make):
    root = make.shared / "weizmann_actions"
    if not root.is_dir():
        pytest.skip("no real data beside the checkout (../shared/data)")
    index = build_index(root)
    assert len(index.entries) == 36 and index.class_counts == dict.fromkeys("0134", 9)
    parts = make_splits(index, Split(group_by="class_order"))
    # Strips 0, 2, 4, 6 of each block of 8 are the four actions of one performer.
    performers = [{int(Path(index.entries[i].path).stem) // 8 for i in part} for part in parts.values()]
    assert [len(p) for p in performers] == [7, 1, 1] and not any(
        a & b for a, b in itertools.combinations(performers, 2)
    )


def test_every_domain_is_in_every_part_where_it_can_be():
    entries = [entry(f"A/{n}.mp4", "A") for n in range(40)] + [entry(f"B/{n}.mp4", "B") for n in range(4)]
    plain, each = (make_splits(index_of(entries), Split(0.05, 0.05), every) for every in (False, True))
    assert len(plain["val"]) == 2 and len(plain["train"]) == 40
    for part in each.values():
        assert {entries[i].domain for i in part} == {"A", "B"}
    assert sorted(sum(each.values(), [])) == list(range(44)) and 2 <= len(each["val"]) <= 3
    with pytest.warns(UserWarning, match="of each domain: test = the training videos"):
        few = make_splits(index_of(entries[:42]), Split(0.05, 0.05), True)
    assert [entries[i].domain for i in few["test"]].count("B") == 1 and len(set(few["train"]) & set(few["test"])) == 1
