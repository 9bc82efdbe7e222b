"""Small clips whose frames carry their number in the pixels, made with PyAV."""

from fractions import Fraction
from itertools import count

import av
import numpy as np

LENGTH = 40
BITS = 6
STEP = 10
"""Pixels from one bit to the next."""

CLIPS = {
    "plain.mp4": ("libx264", {"g": "12", "bf": "0"}),
    "b_frames.mp4": ("libx264", {"g": "12", "bf": "3"}),
    "open_gop.mp4": ("libx264", {"g": "12", "x264-params": "open-gop=1:bframes=2"}),
    "open_gop.mkv": ("libx264", {"g": "12", "x264-params": "open-gop=1:bframes=2"}),
    "intra_refresh.mp4": ("libx264", {"g": "12", "x264-params": "intra-refresh=1"}),
    "stream.ts": ("libx264", {"g": "12", "bf": "2"}),
    "flash.flv": ("libx264", {"g": "12", "bf": "2"}),
    "elementary.h264": ("libx264", {"g": "12", "bf": "2"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=12:bframes=2:log-level=none"}),
    "hevc10.mp4": ("libx265", {"x265-params": "keyint=12:log-level=none"}),
    "hidden.webm": ("libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "1M"}),
    "odd.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "av1.mp4": ("libsvtav1", {"g": "12", "preset": "12"}),
    "b_frames.avi": ("mpeg4", {"g": "12", "bf": "2", "qscale": "3"}),
    "motion.mp4": ("mpeg4", {"g": "12", "bf": "2", "qscale": "3"}),
    "microsoft.avi": ("msmpeg4", {"g": "12"}),
    "media.wmv": ("wmv2", {"g": "12"}),
    "pictures.avi": ("mjpeg", {}),
    "pictures.mov": ("prores_ks", {}),
    "lossless.mkv": ("ffv1", {}),
    "program.mpg": ("mpeg1video", {"g": "12", "bf": "2"}),
    "transport.ts": ("mpeg2video", {"g": "12", "bf": "2"}),
    "animation.gif": ("gif", {}),
}
"""Encoder and options by file name."""

FORMATS = {"pictures.avi": "yuvj420p", "pictures.mov": "yuv422p10le", "animation.gif": "rgb8"}


def picture(number, size=(64, 48)):
    """A frame (H, W, 3) with a corner that tells which side is up."""
    width, height = size
    image = np.full((height, width, 3), (60, 90, 120), np.uint8)
    for bit in range(BITS):
        image[4:14, 2 + STEP * bit : 10 + STEP * bit] = 255 * (number >> bit & 1)
    image[-12:, :12] = (230, 20, 20)
    return image


def code_of(image):
    """The number that a frame carries."""
    return sum(int(image[9, 6 + STEP * bit].mean() > 128) << bit for bit in range(BITS))


def write_clip(
    path, codec=None, options=None, *, size=(64, 48), times=None, length=LENGTH, prepare=None
):
    """Write a clip of 25 frames per second.

    Args:
        path: Of the file; its name is one of `CLIPS`, or codec and options are given.
        codec: FFmpeg's name of an encoder.
        options: Of the encoder.
        size: Width and height.
        times: Timestamps of the frames in hundredths of a second.
        length: Number of frames.
        prepare: Called with the stream before the first frame.
    """
    if codec is None:
        codec, options = CLIPS[path.name]
    pixels = FORMATS.get(path.name, "yuv420p10le" if "10" in path.name else "yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if prepare:
            prepare(stream)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for number, time in zip(range(length), times or count(), strict=False):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts = time
            frame.time_base = Fraction(1, 25) if times is None else Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copy_packets(source, target, first):
    """Cut a clip without decoding it, from a packet on, as `ffmpeg -c copy` does."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size][first:]
        start = min(packet.dts for packet in packets)
        for packet in packets:
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            packet.stream = stream
            part.mux(packet)
    return target
