"""The reader interface: measured once, frames checked by number, an error that names its file."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from vidiff.video.reader import Info, Reader, ReadError, check_indices


class Fixed(Reader):
    measured = 0

    def measure(self) -> Info:
        self.measured += 1
        return Info(3, None, 8, 6)


def test_a_reader_measures_once():
    reader = Fixed("a.mp4")
    assert reader.info is reader.info and reader.info == Info(3, None, 8, 6) and reader.measured == 1


def test_frames_that_are_not_there_are_refused():
    check_indices("a.mp4", [0, 2, 2], 3)
    for wrong in ([-1, 2], [0, 3]):
        with pytest.raises(ReadError, match=r"cannot read a\.mp4: frames -?\d\.\.\d were asked for.* only 3"):
            check_indices("a.mp4", wrong, 3)


def test_an_error_reaches_another_process_whole():
    error = pickle.loads(pickle.dumps(ReadError("a.mp4", "cut off")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "cut off", "cannot read a.mp4: cut off")


def test_the_interface_imports_no_back_end():
    code = "import sys; import vidiff.video.reader; print({'av', 'PIL', 'numpy', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
