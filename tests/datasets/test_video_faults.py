"""The size that a file should have is read from its beginning, or is unknown."""

import io

from uniformer_mm.datasets.video_faults import boxes_end, container_size, is_text


def test_sizes_of_streams_are_unknown():
    assert container_size(b"RIFF\xff\xff\xff\xffAVI ") == 0
    assert container_size(b"\x1a\x45\xdf\xa3....\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(9)) == 0
    assert container_size(b"\x1a\x45\xdf\xa3....\x18\x53\x80\x67\x85" + bytes(20)) == 18
    assert container_size(b"") == 0


def test_what_follows_the_boxes_of_an_mp4_file_does_not_make_it_truncated():
    def end(content):
        return boxes_end(io.BytesIO(content), len(content))

    box = b"\0\0\0\x0cftypisom"
    assert end(box) == 12
    assert end(box + b"\0\0\0\x20moov") == 12 + 32
    assert end(box + b"\0\0\0\x01mdat" + (2**33).to_bytes(8, "big")) == 12 + 2**33
    for more in (b"\0\0\0\0mdat and so on", b"trailing characters", bytes(99)):
        assert end(box + more) == len(box + more)


def test_text_is_told_from_other_content():
    assert is_text("für den Rest\n".encode())
    assert is_text("abcä".encode()[:-1]), "a character that is cut"
    assert not is_text(b"\x00\x01")
