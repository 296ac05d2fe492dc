import subprocess
import sys
import threading
import time
from uuid import UUID

from fanfold.core.identifiers import uuid7, uuid7_text


def test_is_a_version_7_uuid_of_now():
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs((made.int >> 80) / 1000 - time.time()) < 60


def test_ids_are_distinct_and_in_the_order_they_were_made_also_within_a_millisecond():
    made = [uuid7() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert made == sorted(made)


def test_one_as_text_is_the_same_kind_written_as_uuid_writes_it():
    made = [text for _ in range(2000) for text in (uuid7_text(), str(uuid7()))]
    assert [str(UUID(text)) for text in made] == made == sorted(set(made))
    assert {(UUID(text).version, UUID(text).variant) for text in made} == {(7, "specified in RFC 4122")}
    bits = [UUID(text).int for text in made[::2]]
    assert {bit for bit in range(62) for each in bits if each >> bit & 1} == set(range(62))


def test_the_last_62_bits_are_random():
    made = [uuid7().int for _ in range(200)]
    assert {bit for bit in range(62) for each in made if each >> bit & 1} == set(range(62))
    assert {bit for bit in range(62) for each in made if not each >> bit & 1} == set(range(62))


_FORKING = """
import os
from fanfold.core.identifiers import uuid7

uuid7()  # so that there is something drawn that both could take
if os.fork() == 0:
    os.write(1, uuid7().bytes)
    os._exit(0)
os.wait()
os.write(1, uuid7().bytes)
"""


def test_a_child_makes_none_of_its_parents():
    made = subprocess.run([sys.executable, "-c", _FORKING], stdout=subprocess.PIPE, check=True).stdout
    assert len(made) == 32
    assert made[8:16] != made[24:]


def test_threads_share_none():
    made: list[UUID] = []

    def make():
        made.extend([uuid7() for _ in range(5_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.bytes[8:] for one in made}) == 20_000
