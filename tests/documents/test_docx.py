"""Word documents: only the words of paragraphs change."""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree

import pytest

from keras_transformer.documents import docx
from keras_transformer.documents.files import parse
from keras_transformer.documents.parts import segments, written
from keras_transformer.documents.word_xml import read_xml
from keras_transformer.errors import UserError
from tests.documents.files import WORDPROCESSING, read_word, word_document, word_xml

BOLD = "<w:rPr><w:b/></w:rPr>"


def run(text, properties=""):
    return f'<w:r w:rsidR="00A1">{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*content):
    return "<w:p>" + '<w:pPr><w:pStyle w:val="X"/></w:pPr>' + "".join(content) + "</w:p>"


def translated(body, **words):
    """The body with its segments' texts changed by `words`, and those texts."""
    parts = read_xml(word_xml(body).encode())
    texts = []
    for segment in segments(parts):
        texts.append(segment.text)
        text = segment.text
        for word, translation in words.items():
            text = text.replace(word, translation)
        segment.translation = text
    new = written(parts)
    ElementTree.fromstring(new)  # well-formed
    start, end = word_xml("|").split("|")
    assert new.startswith(start)
    assert new.endswith(end)
    return new[len(start) : -len(end)], texts


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (paragraph(run("A red cat")), "A red cat"),
        (paragraph(run("A "), run("red", BOLD), run(" cat")), "A <g1>red</g1> cat"),
        (paragraph(run("A red", BOLD), run(" cat")), "A red<g1> cat</g1>"),
        (paragraph('<w:hyperlink r:id="7">', run("red"), "</w:hyperlink>", run(" cat")), "<g1>red</g1> cat"),
        (
            paragraph('<w:hyperlink r:id="7">', run("red", BOLD), "</w:hyperlink>", run(" and big")),
            "<g1><g2>red</g2></g1> and big",
        ),
        (paragraph(run("red"), '<w:proofErr w:type="x"/>', run(" cat")), "red<x1/> cat"),
        (paragraph('<w:bookmarkStart w:id="1"/>', run("red cat"), '<w:bookmarkEnd w:id="1"/>'), "red cat<x1/>"),
        (paragraph('<w:r><w:t>red</w:t><w:br/><w:t>cat &amp; co</w:t><w:tab/></w:r>'), "red\ncat & co"),
        (
            paragraph(
                '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>LINK</w:instrText></w:r>',
                '<w:r><w:fldChar w:fldCharType="separate"/></w:r>', run("red"),
                '<w:r><w:fldChar w:fldCharType="end"/></w:r>', run(" cats"),
            ),
            "<g1>red</g1> cats",
        ),
        (
            paragraph(
                "<w:sdt><w:sdtPr><w:id w:val='1'/></w:sdtPr><w:sdtContent>", run("red"),
                "</w:sdtContent></w:sdt>", run(" cat"),
            ),
            "<g1>red</g1> cat",
        ),
        (paragraph('<w:bdo w:val="ltr">', run("red"), "</w:bdo>", run(" cat")), "<g1>red</g1> cat"),
        (paragraph('<w:dir w:val="ltr">', run("red"), "</w:dir>", run(" cat")), "<g1>red</g1> cat"),
        (paragraph(run("red"), "<w:del><w:r><w:delText>old</w:delText></w:r></w:del>", run(" cat")), "red<x1/> cat"),
    ],
)  # fmt: skip
def test_the_text_of_a_paragraph_and_the_words_alone_change(body, text):
    body = body.replace("r:id", "w:id")
    same, texts = translated(body)
    assert texts == [text]
    new, _ = translated(body, red="rosso")
    assert new == same.replace("red", "rosso")
    for tag in (
        "w:pPr",
        "w:b/",
        "w:hyperlink",
        "w:bookmarkStart",
        "w:br/",
        "w:tab/",
        "w:fldChar",
        "w:sdtPr",
        "w:del>",
    ):
        assert new.count("<" + tag) == body.count("<" + tag)


def test_a_paragraph_of_one_run_keeps_every_other_byte():
    body = paragraph('<w:r w:rsidR="1"><w:rPr><w:b/></w:rPr><w:t>red</w:t></w:r>') + "<w:sectPr/>"
    assert translated(body, red="rosso")[0] == body.replace("red", "rosso")


def test_formats_and_links_move_with_their_words():
    body = paragraph(
        run("a "), run("red", BOLD), run(" "), '<w:hyperlink w:id="7">', run("car"), "</w:hyperlink>"
    )
    parts = read_xml(word_xml(body).encode())
    (segment,) = segments(parts)
    assert segment.text == "a <g1>red</g1> <g2>car</g2>"
    segment.translation = "una <g2>auto</g2> <g1>rossa</g1>"
    new = ElementTree.fromstring(written(parts))
    name = f"{{{WORDPROCESSING}}}"
    assert "".join(new.itertext()) == "una auto rossa"
    assert [item.text for item in new.iterfind(f".//{name}hyperlink//{name}t")] == ["auto"]
    bold = [item for item in new.iter(f"{name}r") if item.find(f"{name}rPr/{name}b") is not None]
    assert ["".join(item.itertext()) for item in bold] == ["rossa"]


def test_paragraphs_in_tables_and_text_boxes_are_found_and_empty_ones_are_copied():
    box = f"<w:r><w:pict><w:txbxContent>{paragraph(run('in a box'))}</w:txbxContent></w:pict></w:r>"
    body = f"<w:tbl><w:tr><w:tc>{paragraph(run('a cell'))}</w:tc></w:tr></w:tbl><w:p/><w:p></w:p>"
    body += paragraph(run("out"), box) + paragraph(box) + paragraph(run("42"))
    new, texts = translated(body, cell="CELL", box="BOX", out="OUT")
    assert sorted(texts) == ["a cell", "in a box", "in a box", "out<x1/>"]
    assert (new.count("in a BOX"), new.count("a CELL"), new.count("OUT")) == (2, 1, 1)
    assert new.count("<w:p/>") == 1
    assert "42" in new


def test_untranslated_every_byte_stays():
    body = paragraph(run("a &lt; b &amp; c"), "<!-- x -->", "<w:r/>", run("d", BOLD)) + '<w:p w:a="x>y"/>'
    assert written(read_xml(word_xml(body).encode())) == word_xml(body)


def test_all_other_files_of_the_zip_stay():
    header = word_xml(paragraph(run("red")))
    data = word_document(paragraph(run("red cat")), header1=header, styles=header)
    file = parse(data, ".docx", "x.docx")
    assert [segment.text for segment in file.segments] == ["red cat", "red"]
    for segment in file.segments:
        segment.translation = segment.text.replace("red", "rosso")
    new = file.to_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(io.BytesIO(new)) as after:
        assert before.namelist() == after.namelist()
        assert [info.date_time for info in before.infolist()] == [info.date_time for info in after.infolist()]
        for name in before.namelist():
            changed = name in ("word/document.xml", "word/header1.xml")
            expected = before.read(name).replace(b"red", b"rosso") if changed else before.read(name)
            assert after.read(name) == expected
    assert "rosso" in read_word(new)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no zip", "File is not a zip file"),
        (word_document("<w:p>"), "mismatched tag: line 2, column "),
    ],
)
def test_what_is_no_word_document_is_refused(data, reason):
    with pytest.raises(UserError, match=rf"^x\.docx must be a Word document \(docx\): {reason}"):
        parse(data, ".docx", "x.docx")


def test_a_zip_without_a_document_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", "x")
    message = (
        r"^x\.docx must be a Word document \(docx\): there is no word/document\.xml in it\. "
        r"Save it again from a word processor\.$"
    )
    with pytest.raises(UserError, match=message):
        parse(target.getvalue(), ".docx", "x.docx")


def test_a_zip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(docx, "_LARGEST", 100)
    with pytest.raises(UserError, match=r"word/document\.xml is larger than 0 MiB"):
        parse(word_document(paragraph(run("x" * 100))), ".docx", "x.docx")


def test_formulas_diagrams_and_descriptions_are_left_and_told():
    formula = "<m:oMath><m:r><m:t>mass &lt; </m:t></m:r><m:r><m:t>energy</m:t></m:r></m:oMath>"
    picture = '<w:r><w:drawing><wp:docPr id="1" name="Picture 1" descr="A red house"/></w:drawing></w:r>'
    names = 'xmlns:m="m" xmlns:wp="wp" xmlns:a="a"'
    xml = word_xml(paragraph(picture, run("A cat.")) + paragraph(formula) + paragraph("<m:oMath/>"))
    others = {
        "diagrams/data1": f"<dgm {names}><a:t>First step</a:t><a:t>42</a:t><a:t/></dgm>",
        "charts/chart2": f"<c {names}><a:t lang='en'>Sales</a:t></c>",
        "diagrams/layout1": f"<dgm {names}><a:t>not shown</a:t></dgm>",
        "document": xml.replace("<w:document", f"<w:document {names}"),
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in others.items():
            archive.writestr(f"word/{name}.xml", content)
    file = parse(target.getvalue(), ".docx", "x.docx")
    assert [segment.text for segment in file.segments] == ["A cat."]
    assert file.left == ("A red house", "mass < energy", "First step", "Sales")
    file.segments[0].translation = "Un gatto."
    with zipfile.ZipFile(io.BytesIO(file.to_bytes())) as archive:
        for name, content in others.items():
            assert archive.read(f"word/{name}.xml").decode() == content.replace("A cat.", "Un gatto.")


def test_character_data_is_text_and_comments_are_not():
    body = paragraph("<w:r><w:t><![CDATA[red & <b>]]> &amp; big<!-- no --></w:t></w:r>")
    new, texts = translated(body, big="grande")
    assert texts == ["red & <b> & big"]
    assert ">red &amp; &lt;b&gt; &amp; grande<" in new


def test_readings_above_words_are_left_and_told():
    base = f"<w:rt>{run('reading')}</w:rt><w:rubyBase>{run('word')}</w:rubyBase>"
    body = paragraph(run("A red "), f"<w:r><w:ruby>{base}</w:ruby></w:r>")
    file = parse(word_document(body), ".docx", "x.docx")
    assert file.left == ("readingword",)


@pytest.mark.parametrize("damage", ["content", "offset", "compression", "encrypted"])
def test_a_damaged_document_is_refused_before_anything_is_translated(damage):
    data = bytearray(word_document(paragraph(run("A red cat"))))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        image = archive.getinfo("word/media/image1.png")  # nothing of it is translated
    entry = data.rindex(b"PK\x01\x02")
    if damage == "content":
        data[image.header_offset + 30 + len(image.filename) + 4] ^= 255
    elif damage == "offset":
        data[entry + 42 : entry + 46] = (2**31).to_bytes(4, "little")
    elif damage == "compression":
        data[entry + 10] = 99
    else:
        data[entry + 8] |= 1
    with pytest.raises(UserError, match=r"^x\.docx must be a Word document \(docx\): .+\. Save it again"):
        parse(bytes(data), ".docx", "x.docx")


def test_white_space_that_lays_out_the_xml_is_no_text():
    body = (
        "<w:p>\n  <w:r>\n    <w:t>A </w:t>\n  </w:r>\n  <w:r>\n    <w:rPr>\n      <w:b />\n    </w:rPr>\n"
        "    <w:t>red</w:t>\n  </w:r>\n  <w:ins>\n    <w:r>\n      <w:rPr>\n        <w:b />\n      </w:rPr>\n"
        "      <w:t> </w:t>\n    </w:r>\n  </w:ins>\n  <w:r>\n    <w:t> cat</w:t>\n  </w:r>\n</w:p>\n<w:p />\n"
    )
    assert written(read_xml(word_xml(body).encode())) == word_xml(body)
    new, texts = translated(body, red="rosso")
    assert texts == ["A <g1>red</g1><g2><g3> </g3></g2> cat"]
    root = ElementTree.fromstring(word_xml(new))
    name = f"{{{WORDPROCESSING}}}"
    assert ["".join(text.itertext()) for text in root.iter(f"{name}t")] == ["A ", "rosso", " ", " cat"]
    assert [run.find(f"{name}t") is not None for run in root.iter(f"{name}r")] == [True] * 4
    assert [run.find(f"{name}rPr/{name}b") is not None for run in root.iter(f"{name}r")] == [
        False,
        True,
        True,
        False,
    ]


def test_white_space_does_not_tell_formats_apart():
    bold = "<w:rPr>\n{}<w:b/>\n</w:rPr>"
    body = paragraph(run("red ", bold.format(" ")), run("big", bold.format("   ")), run(" cat"))
    assert translated(body)[1] == ["red big<g1> cat</g1>"]


@pytest.mark.parametrize(
    "control",
    ["<w:sdt></w:sdt>", "<w:sdt>\n<w:sdtPr/>\n</w:sdt>", "<w:sdt><w:sdtPr><w:id/></w:sdtPr></w:sdt>"],
)
def test_a_control_without_content_is_a_point(control):
    for body in (paragraph(run("red"), control, run(" cat")), paragraph(run("red"), control)):
        same, texts = translated(body)
        assert texts == [body.count(" cat") * "red<x1/> cat" or "red<x1/>"]
        assert control in same
    assert translated(paragraph(run("red"), "<w:sdt><w:sdtContent/></w:sdt>"))[1] == ["red<g1></g1>"]
