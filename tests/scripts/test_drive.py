"""drive.py's live packets, over loopback, and what it does ahead."""

import socket
import threading

import pytest

from scripts.drive import ahead, listening, record_vmc
from tests.capture.test_drivers import osc
from utils.errors import InputError

NAMES = ("eyeBlinkLeft", "eyeBlinkRight")


def test_recorded_packets_become_a_performance(monkeypatch):
    monkeypatch.setattr("scripts.drive.QUIET", 0.2)
    packets = [b"not OSC"]
    for k in range(5):
        packets += [osc("/VMC/Ext/Blend/Val", "sf", "jawOpen", 0.2 * k)]
        packets += [osc("/VMC/Ext/Blend/Val", "sf", "eyeBlinkLeft", 0.5)]
        packets += [osc("/VMC/Ext/Blend/Apply")]
    with listening(0) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, listener.getsockname())
        found = record_vmc(listener, NAMES, 0.4, 1e9)
    assert len(found) == 5
    assert found.pose[:, 6].tolist() == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
    assert found.expression[:, 0].tolist() == pytest.approx([0.5] * 5)


def test_silence_ends_with_one_line(monkeypatch):
    monkeypatch.setattr("scripts.drive.QUIET", 0.1)
    with listening(0) as listener, pytest.raises(InputError, match="no blendshapes came"):
        record_vmc(listener, NAMES, 0.4, 1.0)


def test_a_taken_port_is_said_in_one_line():
    with listening(0) as other, pytest.raises(InputError, match="cannot listen there"):
        listening(other.getsockname()[1])


def test_only_this_machine_is_listened_to():
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_items_come_in_order_from_another_thread_one_ahead():
    made, here, waited = [], threading.get_ident(), threading.Event()

    def items():
        for k in range(5):
            made.append((k, threading.get_ident() == here))
            if k == 2:
                waited.set()
            yield k

    found = []
    for k in ahead(items()):
        if k == 1:
            assert waited.wait(10)  # the next one is made while this one is at work
        found.append(k)
    assert found == list(range(5))
    assert made == [(k, False) for k in range(5)]


def test_what_fails_in_the_other_thread_is_said_here():
    def items():
        yield 1
        raise InputError("the camera went away")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(InputError, match="went away"):
        next(found)
