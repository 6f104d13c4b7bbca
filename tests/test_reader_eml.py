"""Messages: headers, the text that is read, what lies within, and what is no message."""

import base64
import quopri
from email.message import EmailMessage

import pytest

from latechunk.readers import count_documents, find_files, mbox

pytest.importorskip("selectolax")


def make(body="Hello Bob,\n\n\n\nsee below.\n\n> old\n", **headers):
    message = EmailMessage()
    for name, value in {"From": "Änn <ann@example.com>", "Subject": "Offer for pümps", **headers}.items():
        message[name] = value
    message.set_content(body)
    return message


def test_a_message_is_its_subject_its_headers_and_its_text(read):
    message = make(To="bob@example.com, c@example.com", Date="Sun, 31 Mar 2024 14:30:00 +0200", Cc="d@example.com")
    message.add_alternative("<h1>Not read</h1>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Angebot für.pdf")
    message.add_attachment("not read", filename="notes.txt")

    ((document,), problems) = read("a.eml", bytes(message))

    assert document.text == (
        "Offer for pümps\n\nFrom: Änn <ann@example.com>\nTo: bob@example.com, c@example.com\nCc: d@example.com\n"
        "Date: 2024-03-31 14:30+02:00\nAttachments: Angebot für.pdf, notes.txt\n\nHello Bob,\n\nsee below.\n\n> old"
    )
    assert [(one.kind, document.text[one.start : one.end]) for one in document.outline] == [
        ("heading", "Offer for pümps")
    ]
    assert {key: value for key, value in document.metadata.items() if key != "source"} == {
        "title": "Offer for pümps",
        "author": "Änn <ann@example.com>",
        "to": "bob@example.com, c@example.com",
        "created": "2024-03-31 14:30+02:00",
    }
    assert problems == read.notes == []


def test_html_is_read_where_there_is_no_plain_text_and_pictures_in_it_are_no_attachments(read):
    message = make(body=" \n")
    message.add_alternative("<meta charset=latin-1><footer>Grüße</footer><table><tr><td>a<td>b</table>", subtype="html")
    logo = {"maintype": "image", "subtype": "png", "filename": "logo.png", "disposition": "inline", "cid": "<logo>"}
    message.get_payload()[1].add_related(b"x", **logo)

    ((document,), _) = read("a.eml", bytes(message))

    assert document.text.endswith("ann@example.com>\n\nGrüße\n\na | b")


def test_messages_within_a_message_are_read_below_it(read):
    outer, inner = make(), make(body="Inside.", Subject="Inner")
    outer.add_attachment(inner)

    ((document,), _) = read("a.eml", bytes(outer))

    assert document.text.endswith("> old\n\nInner\n\nFrom: Änn <ann@example.com>\n\nInside.")
    assert [one.level for one in document.outline] == [1, 2]


def multipart(kind, *parts, before="From: ann"):
    """A message, or a part, of parts that are written out."""
    mark = f"mark{len(parts)}{kind}"
    return (
        f"{before}\nContent-Type: multipart/{kind}; boundary={mark}\n\n"
        + "".join(f"--{mark}\n{one.lstrip()}\n" for one in (*parts, "")).removesuffix("\n\n")
        + "--\n"
    )


INNER = "From: bob\nSubject: Inner\n\nInside."


def test_a_message_in_base64_is_read_as_one_and_not_as_its_letters(read):
    letters = base64.encodebytes(INNER.encode()).decode()
    for said, text in ((letters, "Inner\n\nFrom: bob\n\nInside."), (INNER, "Inner\n\nFrom: bob\n\nInside.")):
        part = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{said}"

        ((document,), problems) = read("a.eml", multipart("mixed", "Content-Type: text/plain\n\nSee.", part))

        assert (document.text, problems) == (f"From: ann\n\nSee.\n\n{text}", [])


def test_a_message_in_quoted_printable_is_read_as_one(read):
    inner = multipart(
        "related",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n3 =3D three, für",
        'Content-Type: text/plain; charset="utf-8"\n\n' + "A long line. " * 9,
        before="Subject: Inner",
    )
    for said in (quopri.encodestring(inner.encode()).decode(), inner):
        part = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n{said}"

        ((document,), problems) = read("a.eml", multipart("mixed", "Content-Type: text/plain\n\nSee.", part).encode())

        long = ("A long line. " * 9).strip()
        assert (document.text, problems) == (f"From: ann\n\nSee.\n\nInner\n\n3 = three, für\n\n{long}", [])


def test_a_message_that_only_says_that_it_is_quoted_printable_and_has_lost_its_parts_is_read(read):
    torn = "Subject: Inner\nContent-Type: multipart/mixed; boundary=other\n\n--own\n\nfür"
    part = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n{torn}"

    ((document,), problems) = read("a.eml", multipart("mixed", "Content-Type: text/plain\n\nSee.", part).encode())

    assert problems == []
    assert document.text.endswith("für")


def test_a_message_beside_the_form_of_the_text_that_is_not_read_is_read(read):
    page = multipart(
        "mixed", "Content-Type: text/html\n\n<p>See", f"Content-Type: message/rfc822\n\n{INNER}", before=""
    )

    ((document,), _) = read("a.eml", multipart("alternative", "Content-Type: text/plain\n\nSee.", page))

    assert document.text == "From: ann\n\nSee.\n\nInner\n\nFrom: bob\n\nInside."


@pytest.mark.parametrize("before", [b"\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_what_editors_and_exports_write_before_a_message_is_no_part_of_it(read, before):
    message = "From: änn\nSubject: a\n\nü".encode()
    assert read("a.eml", before + message)[0][0].text == "a\n\nFrom: änn\n\nü"
    assert read("a.eml", message.decode().encode("utf-16"))[0][0].text == "a\n\nFrom: änn\n\nü"
    assert read("a.eml", message.decode().encode("utf-16") + b"\0")[1] == []


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("gb2312", "gbk", "朱镕基说"),
        ("Shift_JIS", "cp932", "①髙テスト"),
        ("ISO-2022-JP", None, "テスト①アa"),
        ("ks_c_5601-1987", "cp949", "똠방각하"),
        ("big5", "cp950", "台灣碁～€"),
        ("big5", "big5hkscs", "佢喺度食緊嘢，唔該"),
        ("windows-874", "cp874", "สวัสดี"),
        ("iso-8859-8-i", "iso8859-8", "שלום"),
        ("iso-8859-9", "cp1254", "“ş”"),
        ("us-ascii", "cp1252", "“hi”"),
        ("utf-7", "utf-7", "Grüße"),
    ],
)
def test_encodings_that_are_declared_are_those_that_programs_mean(read, declared, encoding, text):
    data = text.encode(encoding) if encoding else b"\x1b$B\x25\x46\x25\x39\x25\x48\x2d\x21\x1b(I\x31\x1b(Ba"
    text = text if encoding else "テスト①ｱa"
    word = f"=?{declared}*xx?b?{base64.b64encode(data).decode()}?=".encode()

    message = b"Subject: " + word + b"\nContent-Type: text/plain; charset=" + declared.encode() + b"\n\n" + data
    ((document,), problems) = read("a.eml", message)

    assert (document.text, problems) == (f"{text}\n\n{text}", [])


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        (b"Subject: =?iso-8859-1?q?Gr=FC=DFe?= =?utf-8?b?IPCfmYI=?=", b"x", "Grüße 🙂\n\nx"),
        ("Subject: Grüße".encode(), b"x", "Grüße\n\nx"),
        ("Subject: Grüße".encode("latin-1"), b"x", "Grüße\n\nx"),
        (b"Subject: a\r\n  folded =?nope?q?one?=", b"x", "a folded =?nope?q?one?=\n\nx"),
        (b"Subject: a\r\nDate: yesterday", b"x", "a\n\nDate: yesterday\n\nx"),
        (b"Subject: a\r\nContent-Type: text/plain; charset=iso-8859-1", "ü \x93".encode("latin-1"), "a\n\nü “"),
        (b"Subject: a\r\nContent-Type: text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "a\n\n日本"),
        (b"Subject: a\r\nContent-Type: text/plain; charset=nope", "ü".encode(), "a\n\nü"),
        (b"Subject: a\r\nContent-Transfer-Encoding: base64", b"SGVsbG8=", "a\n\nHello"),
        (b"Subject: a\r\nContent-Type: multipart/mixed", b"Its parts are lost.", "a\n\nIts parts are lost."),
        (b'From: "=?utf-8?q?M=C3=BCller=2C_Ann?=" <a@b.c>', b"x", 'From: "Müller, Ann" <a@b.c>\n\nx'),
        (b"Subject: \xc3\xbc =?utf-8?q?=C3=BC?=\r\n =?utf-8?q?=C3=BC?=", b"x", "ü üü\n\nx"),
        (b"Subject: =?\xe9?q?one?=", b"x", "=?\u00e9?q?one?=\n\nx"),
        (b"Subject: a\r\nContent-Type: text/plain; charset*=utf\x00-8''b; name*=u\x00'x'c", b"x", "a\n\nx"),
        (b'Subject: a\r\nContent-Type: text/plain; name="a.txt"', b"x", "a\n\nx"),
        (b"Subject: a\r\nContent-Transfer-Encoding: base64", b"SGVsbG8gV29y\nbGQhI!", "a\n\nHello World!"),
        (b"Subject:\r\nFrom: ann", b"x", "From: ann\n\nx"),
    ],
)
def test_encodings_and_damages(read, headers, body, text):
    ((document,), problems) = read("a.eml", headers + b"\r\n\r\n" + body)

    assert (document.text, problems) == (text, [])


def test_a_message_without_text_is_noted_and_one_of_an_unknown_encoding_named(read):
    ((document,), _) = read("a.eml", b"Subject: a\nContent-Type: application/pkcs7-mime; name=smime.p7m\n\nMIIB")
    assert document.text == "a\n\nAttachments: smime.p7m"
    assert [note for _, note in read.notes] == [
        "a message without a text that is read: it is encrypted, or its attachments are all that it holds"
    ]
    ((document,), ((place, why),)) = read("a.eml", b"Subject: a\n\nx \x81\xff")
    assert (document.text, place) == ("a", ", its part of text/plain")
    assert "name it (--encoding)" in why


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"No message.", "it is no message: it has no header of from, to, cc, date, subject"),
        (b"\0\0\0", "it is no message"),
        (b"Subject: a\nContent-Type: message/rfc822\n\n" * 40 + b"x", "nest more than 20 levels deep"),
        (b"Subject: a\nContent-Type: message/rfc822\n\n" * 4000 + b"x", "nest more than 20 levels deep"),
    ],
)
def test_what_is_no_message_is_named(read, content, reason):
    documents, ((place, why),) = read("a.eml", content)

    assert (documents, place) == ([], "")
    assert reason in why


INVITATION = (
    "BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n"
    'SUMMARY:Budget\\, again\r\nDTSTART;TZID="Europe/Berlin";X=1:20240305T100000\r\nDTEND:20240305T103000Z\r\n'
    "LOCATION:Room 5\r\nDESCRIPTION:Bring the\\nfig\r\n ures.\r\nBEGIN:VALARM\r\nDESCRIPTION:Reminder\r\n"
    "END:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
WHEN = "Event: Budget, again\nStart: 2024-03-05 10:00 Europe/Berlin\nEnd: 2024-03-05 10:30 UTC\nLocation: Room 5"


def test_time_and_place_of_an_invitation_are_read_once(read):
    message = make("Please come.")
    message.add_alternative("<p>Please come.</p>", subtype="html")
    message.add_alternative(INVITATION, subtype="calendar")
    message.add_attachment(INVITATION, subtype="calendar", filename="invite.ics")

    ((document,), problems) = read("a.eml", bytes(message))

    assert document.text.endswith(f"Attachments: invite.ics\n\nPlease come.\n\n{WHEN}")
    assert problems == read.notes == []


def test_an_invitation_without_a_text_says_what_it_is_about(read):
    alone = b"Subject: A\nContent-Type: text/calendar; charset=utf-8\n\n" + INVITATION.encode()

    assert read("a.eml", alone)[0][0].text == f"A\n\n{WHEN}\n\nBring the\nfigures."
    assert read.notes == []
    assert read("a.eml", b"Subject: A\nContent-Type: text/calendar\n\nBEGIN:VEVENT\n")[0][0].text == "A"
    day = alone.replace(b"20240305T103000Z", b"20240306").replace(b"20240305T100000", b"soon")
    assert "Start: soon\nEnd: 2024-03-06\n" in read("a.eml", day)[0][0].text


@pytest.mark.parametrize("end", ["", "LOCATION:Room 5\n"])
def test_an_alarm_says_nothing_of_the_event_and_zones_may_hold_colons(read, end):
    event = (
        'BEGIN:VEVENT\nDTSTART;TZID="(UTC+01:00) Berlin, Bern":20240305T100000\nBEGIN:VALARM\nDESCRIPTION:Reminder\n'
        f"END:VALARM\n{end}END:VEVENT\n"
    )
    text = read("a.eml", f"Subject: A\nContent-Type: text/calendar\n\n{event}".encode())[0][0].text

    assert text == f"A\n\nStart: 2024-03-05 10:00 (UTC+01:00) Berlin, Bern\n{end and 'Location: Room 5'}".strip()


def test_many_events_without_an_end_take_no_time_that_grows_with_their_square(read):
    content = b"Subject: A\nContent-Type: text/calendar\n\n" + 20_000 * b"BEGIN:VEVENT\n"

    assert read("a.eml", content)[0][0].text == "A"


def test_receivers_may_stand_on_lines_of_their_own(read):
    ((document,), _) = read("a.eml", b"Subject: A\nTo: a@x.org\nTo: b@x.org, c@x.org\nSubject: B\n\nText.\n")

    assert document.text == "A\n\nTo: a@x.org, b@x.org, c@x.org\n\nText."


BOX = """From - Mon Jan 1 10:00:00 2024
Subject: One
From: ann@x.org
Content-Transfer-Encoding: quoted-printable

Caf=C3=A9.

From here on all is well.
>From the start.
>>From: quoted

From bob@x.org Tue Jan 2 2024 11:00
X-No: header

Lost.

From bob@x.org Tue Jan 2 11:00:00 2024
Subject: Three

Last.
"""


@pytest.mark.parametrize("name", ["a.mbox", "Inbox", "Sent.sbd"])
def test_each_message_of_a_mailbox_is_a_document(read, tmp_path, name):
    documents, problems = read(name, BOX.encode())

    assert [(one.id, one.text) for one in documents] == [
        (f"{name}#1", "One\n\nFrom: ann@x.org\n\nCafé.\n\nFrom here on all is well.\nFrom the start.\n>>From: quoted"),
        (f"{name}#3", "Three\n\nLast."),
    ]
    assert documents[0].metadata == {
        "title": "One",
        "author": "ann@x.org",
        "table_row": 1,
        "source": (tmp_path / name).as_posix(),
    }
    assert [block.kind for block in documents[1].outline] == ["heading"]
    ((place, reason),) = problems
    assert (place, reason[:20]) == (", message 2", "it is no message: it")
    assert count_documents(find_files([tmp_path / name], print)) == 3


def test_a_note_that_begins_with_a_place_and_a_time_is_no_mailbox(read):
    note = "From Berlin at 10:00\nTo: all of you\n\nWe meet."

    assert [(one.id, one.text) for one in read("note", note.encode())[0]] == [("note", note)]


def test_a_sentence_with_a_time_begins_no_message_and_nothing_before_the_first_is_lost(read):
    said = "Hello.\n\nFrom the start at 10:30 we saw it.\nIt was fine."
    box = f"From - Mon Jan 1 10:00:00 2024\nSubject: A\n\n{said}\n\nFrom - Mon Jan 1 11:00:00 2024\nSubject: B\n\nx\n"

    for content in (box, "\ufeff" + box, "\n\n" + box, box.partition("\n")[2]):
        documents, problems = read("a.mbox", content.encode())
        assert [(one.id, one.text) for one in documents] == [("a.mbox#1", f"A\n\n{said}"), ("a.mbox#2", "B\n\nx")]
        assert problems == []
    documents, ((place, _),) = read("a.mbox", f"The end of another.\n\n{box}".encode())
    assert ([one.id for one in documents], place) == (["a.mbox#2", "a.mbox#3"], ", message 1")


def test_what_is_no_mailbox_is_named_and_one_message_too_large_costs_itself(read, monkeypatch):
    assert read("a.mbox", b"Hello.")[1][0][1].startswith("it is no mailbox")
    monkeypatch.setattr(mbox, "MAX_BYTES", 150)
    documents, problems = read("a.mbox", BOX.encode().replace(b"Lost.", b"Lost.\n" * 100))
    assert ([one.id for one in documents], len(problems)) == (["a.mbox#1", "a.mbox#3"], 1)


def test_a_message_that_thunderbird_deleted_and_keeps_in_the_file_is_left_out(read):
    marks = ["X-Mozilla-Status: 0001", "X-UIDL: 7\r\nX-Mozilla-Status: 0009", "X-Mozilla-Status: 0010", "Subject: 0008"]
    box = "".join(f"From - Mon Jan  1 10:00:00 2024\r\n{one}\r\nSubject: A\r\n\r\nX.\r\n\r\n" for one in marks)

    documents, problems = read("a.mbox", box.encode())

    assert ([one.id for one in documents], problems) == (["a.mbox#1", "a.mbox#3", "a.mbox#4"], [])
    ((place, _),) = read.notes
    assert place.endswith("a.mbox, message 2")
