"""drive.py's live packets, over loopback."""

import socket
import threading

import pytest

from scripts.drive import record_vmc
from tests.capture.test_drivers import osc
from utils.errors import InputError

NAMES = ("eyeBlinkLeft", "eyeBlinkRight")


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def send(port, packets):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", port))


def test_recorded_packets_become_a_performance(monkeypatch):
    monkeypatch.setattr("scripts.drive.QUIET", 0.5)
    port, packets = free_port(), [b"not OSC"]
    for k in range(5):
        packets += [osc("/VMC/Ext/Blend/Val", "sf", "jawOpen", 0.2 * k)]
        packets += [osc("/VMC/Ext/Blend/Val", "sf", "eyeBlinkLeft", 0.5)]
        packets += [osc("/VMC/Ext/Blend/Apply")]
    timer = threading.Timer(0.2, send, (port, packets))
    timer.start()
    found = record_vmc(port, NAMES, 0.4, 10.0)
    timer.join()
    assert len(found) == 5
    assert found.pose[:, 6].tolist() == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
    assert found.expression[:, 0].tolist() == pytest.approx([0.5] * 5)


def test_silence_ends_with_one_line(monkeypatch):
    monkeypatch.setattr("scripts.drive.QUIET", 0.1)
    with pytest.raises(InputError, match="no blendshapes came"):
        record_vmc(free_port(), NAMES, 0.4, 1.0)


def test_a_taken_port_is_said_in_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="cannot listen there"):
            record_vmc(other.getsockname()[1], NAMES, 0.4, 1.0)
