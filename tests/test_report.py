"""The page stands alone: nothing is fetched, no text becomes markup, pictures survive."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from rgbd3d.report import Report

HOSTILE = '<script src="http://a.b/c.js">&"quoted"</script>'
PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def text(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "curve.png")
    report = Report(HOSTILE, HOSTILE)
    report.section(HOSTILE, HOSTILE)
    report.picture(PICTURE, HOSTILE)
    report.image_file(tmp_path / "curve.png", "curve")
    report.table((HOSTILE, "value"), [(HOSTILE, 0.123456)])
    report.commands([HOSTILE, "second line"])
    report.write(tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.png", "report.html"]
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_fetched(text):
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "a"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"href", "srcset", "data", "onload", "onerror"} & attributes.keys()
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_text_is_escaped_and_survives(text):
    page = Page(text)
    assert page.words.count(HOSTILE) >= 7  # title, heading, lead, section, paragraph, caption, table
    assert page.all("img")[0]["alt"] == HOSTILE
    assert f"{HOSTILE}\nsecond line" in page.words


def test_pictures_are_embedded_without_loss(text):
    images = Page(text).all("img")
    assert len(images) == 2
    for image in images:
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), PICTURE)


def test_numbers_are_rounded_and_right_aligned(text):
    assert '<td class="number">0.1235</td>' in text


def test_galleries_bars_and_legends(tmp_path):
    report = Report("title", "lead", width=900)
    report.gallery([([[PICTURE, PICTURE], [PICTURE]], HOSTILE)], columns=2)
    report.bars([(HOSTILE, 0.25, (255, 0, 16)), ("other", 0.5, (0, 1, 2))])
    report.legend([((1, 2, 3), HOSTILE, HOSTILE)])
    report.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.all("script")
    assert page.words.count(HOSTILE) == 4
    assert [image["src"].partition(";")[0] for image in page.all("img")] == ["data:image/jpeg"] * 3
    pixels = Image.open(io.BytesIO(base64.b64decode(page.all("img")[0]["src"].partition(",")[2])))
    assert pixels.size == (PICTURE.shape[1], PICTURE.shape[0])
    styles = [attributes.get("style") for attributes in page.all("i")]
    assert styles == [
        "background: #ff0010; width: 50.00%",
        "background: #000102; width: 100.00%",
        "background: #010203",
    ]
    assert {"25.0%", "50.0%"} <= set(page.words)
    assert "max-width: 900px" in text
    report.bars([])
    report.bars([("nothing", 0, (0, 0, 0))])
