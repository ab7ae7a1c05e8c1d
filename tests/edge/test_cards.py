"""A sound card has a name that stays the same, whatever number the kernel gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.sources.cards import Card, is_card, sound_cards


def usb_card(root: Path, index: int, card_id: str, port: str, serial: str = "") -> None:
    """What /sys shows of a USB sound card."""
    device = root / "sys/devices/pci0000:00/usb1" / port
    interface = device / f"{port}:1.0"
    card = interface / "sound" / f"card{index}"
    card.mkdir(parents=True)
    (device / "idVendor").write_text("0d8c\n")
    (device / "idProduct").write_text("0014\n")
    if serial:
        (device / "serial").write_text(f"{serial}\n")
    (card / "id").write_text(f"{card_id}\n")
    (card / "number").write_text(f"{index}\n")
    (card / "device").symlink_to(interface)
    sound = root / "sys/class/sound"
    sound.mkdir(parents=True, exist_ok=True)
    (sound / f"card{index}").symlink_to(card)


def test_usb_card_is_named_by_its_serial_number_and_without_one_by_its_port(tmp_path):
    usb_card(tmp_path, 2, "Device", "1-1.3", serial="A 1/7")
    usb_card(tmp_path, 0, "Device_1", "1-1.4")
    cards = {card.number: card for card in sound_cards(tmp_path)}
    assert cards[2] == Card(2, "Device", "usb-0d8c:0014-A_1_7", "usb-0d8c:0014-port1-1.3")
    assert cards[0] == Card(0, "Device_1", "usb-0d8c:0014-port1-1.4", "usb-0d8c:0014-port1-1.4")


def test_usb_cards_with_the_same_serial_number_are_told_apart_by_their_ports(tmp_path):
    usb_card(tmp_path, 1, "Device", "1-1.3", serial="000")
    usb_card(tmp_path, 2, "Device_1", "1-1.4", serial="000")
    assert [card.usb for card in sound_cards(tmp_path)] == ["usb-0d8c:0014-port1-1.3", "usb-0d8c:0014-port1-1.4"]


def test_usb_card_keeps_the_name_of_its_port_while_its_twin_is_unplugged(tmp_path):
    usb_card(tmp_path, 2, "Device_1", "1-1.4", serial="000")
    (card,) = sound_cards(tmp_path)
    assert card.usb == "usb-0d8c:0014-000"
    assert is_card(card, "usb-0d8c:0014-port1-1.4")
    assert not is_card(card, "usb-0d8c:0014-port1-1.3")


def test_card_on_the_board_is_named_by_its_id(tmp_path):
    card = tmp_path / "sys/class/sound/card1"
    (card / "device").mkdir(parents=True)
    (card / "id").write_text("sndrpihifiberry\n")
    (card / "number").write_text("1\n")
    assert sound_cards(tmp_path) == [Card(1, "sndrpihifiberry", "")]


def test_cards_come_from_proc_where_sys_has_none(tmp_path):
    listed = tmp_path / "proc/asound/cards"
    listed.parent.mkdir(parents=True)
    listed.write_text(
        " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel PCH at 0xf7e3 irq 32\n"
        " 1 [Device         ]: USB-Audio - USB PnP Sound Device\n"
    )
    assert sound_cards(tmp_path) == [Card(0, "PCH", ""), Card(1, "Device", "")]


def test_machine_without_cards_has_none(tmp_path):
    assert sound_cards(tmp_path) == []


@pytest.mark.parametrize(
    ("device", "is_meant"),
    [
        ("Device", True),
        ("usb-0d8c:0014-A1", True),
        ("usb-0d8c:0014", True),
        ("usb-0d8c:0014-A", False),
        ("usb-0d8c:001", False),
        ("Devic", False),
        ("", False),
    ],
)
def test_card_is_meant_by_its_id_its_whole_usb_identity_or_its_make(device, is_meant):
    assert is_card(Card(3, "Device", "usb-0d8c:0014-A1"), device) is is_meant
