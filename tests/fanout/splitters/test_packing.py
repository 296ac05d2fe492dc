from fanfold.fanout.splitters.packing import pack, pack_equal
from fanfold.fanout.splitters.units import Units


def test_equal_units_with_overlap():
    assert pack_equal(range(11), 4, 1) == [(0, 4), (3, 7), (6, 10)]
    assert pack_equal(range(12), 4, 1) == [(0, 4), (3, 7), (6, 10), (9, 11)]


def test_units_fill_chunks_up_to_the_size():
    bounds = [0, 3, 6, 10, 11]
    assert pack(Units(bounds, bounds), 6, 0) == [(0, 6), (6, 11)]


def test_a_unit_over_the_size_stands_alone():
    bounds = [0, 2, 12, 14]
    assert pack(Units(bounds, bounds), 5, 0) == [(0, 2), (2, 12), (12, 14)]


def test_overlap_takes_whole_units_only():
    bounds = [0, 3, 6, 9, 12]
    assert pack(Units(bounds, bounds), 6, 4) == [(0, 6), (3, 9), (6, 12)]
    assert pack(Units(bounds, bounds), 6, 2) == [(0, 6), (6, 12)]


def test_overlap_gives_way_to_a_new_unit():
    bounds = [0, 3, 6, 12]
    assert pack(Units(bounds, bounds), 6, 3) == [(0, 6), (6, 12)]


def test_no_chunk_crosses_a_break_nor_repeats_what_is_before_it():
    bounds = [0, 2, 4, 6, 8]
    assert pack(Units(bounds, bounds, [2]), 6, 2) == [(0, 4), (4, 8)]


def test_packing_begins_and_ends_where_it_is_told():
    bounds = [0, 2, 4, 6, 8]
    assert pack(Units(bounds, bounds, [1]), 4, 0, first=1) == [(2, 6), (6, 8)]
    assert pack(Units(bounds, bounds), 2, 0, most=3) == [(0, 2), (2, 4), (4, 6)]
