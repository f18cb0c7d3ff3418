"""Reports in a real browser: they render completely, load nothing, fit a phone, and show hostile text as text."""

import browser
import pytest
from report_tools import EVIL

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium is installed")

# Elements that stick out to the right of the page, and are not inside anything that scrolls.
WIDER = """
[...document.body.querySelectorAll('*')].filter(each =>
    !each.closest('.scroll') && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(each => each.outerHTML.slice(0, 80))
"""
SECTIONS = """
[...document.querySelectorAll('section')].map(each => [each.id, each.offsetHeight, each.innerText.length])
"""
PICTURES = "[...document.images].map(each => [each.complete, each.naturalWidth, each.alt, each.offsetWidth])"
# Relative luminance of the ink, the quiet ink and the paper, as WCAG has it.
CONTRAST = """
(() => {
    const light = color => {
        const parts = color.match(/[0-9.]+/g).slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll('p, td, th, a, dt, dd, figcaption, caption, small, .mark')].map(each => {
        const ink = light(getComputedStyle(each).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
})()
"""


@pytest.fixture(scope="module")
def tab():
    with browser.Browser(browser.find()) as opened:
        yield opened


@pytest.fixture(params=["whole", "hostile"])
def page(request, reported, reported_hostile):
    run = reported["whole"] if request.param == "whole" else reported_hostile
    return run / "report.html"


def test_the_browser_of_these_tests_sees_what_is_wrong(tab, tmp_path):
    bad = tmp_path / "bad.html"
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    bad.write_text(f"<!DOCTYPE html>{policy}<img src='x.png'><script>1</script><p style='width: 2000px'>wide</p>")
    tab.open(bad, 390)
    assert len(tab.complaints()) >= 3
    bad.write_text("<!DOCTYPE html><img src='x.png' alt=''><div><div style='width: 2000px'>wide</div></div>")
    tab.open(bad, 390)
    assert tab.requests() == [bad.as_uri(), (tmp_path / "x.png").as_uri()]
    assert tab.evaluate(PICTURES)[0][1] == 0
    assert len(tab.evaluate(WIDER)) == 1


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_a_page_renders_whole_and_asks_for_nothing(tab, page, width, scheme):
    tab.open(page, width, scheme=scheme)
    assert tab.complaints() == []
    assert tab.requests() == [page.resolve().as_uri()]
    sections = tab.evaluate(SECTIONS)
    assert [name for name, _, _ in sections][:3] == ["findings", "summary", "curves"]
    assert all(height > 100 and words > 60 for _, height, words in sections), sections
    pictures = tab.evaluate(PICTURES)
    assert len(pictures) >= 8
    assert all(complete and natural > 100 and alt and shown > 100 for complete, natural, alt, shown in pictures)
    assert sum(natural < 300 for _, natural, _, _ in pictures) <= 1  # that of the model is as narrow as its layers


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_nothing_is_wider_than_the_screen(tab, page, width):
    tab.open(page, width)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(WIDER) == []


def test_on_a_phone_panels_and_explained_updates_need_no_scrolling(tab, reported):
    tab.open(reported["whole"] / "report.html", 390)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    frames = "[...document.querySelectorAll('.panel .scroll, article .scroll')]"
    widths = tab.evaluate(f"{frames}.map(each => [each.scrollWidth, each.clientWidth])")
    assert len(widths) > 10
    assert all(needed <= there for needed, there in widths)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_that_the_guidelines_ask_for(tab, page, scheme):
    tab.open(page, 1280, scheme=scheme)
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    assert min(tab.evaluate(CONTRAST)) >= 4.5


def test_a_link_of_a_finding_leads_to_an_open_panel(tab, reported):
    tab.open(reported["whole"] / "report.html", 1280)
    opened = """(() => {
        document.querySelectorAll('details.panel').forEach(each => each.open = false);
        location.hash = 'layer-1';
        const panel = document.getElementById('layer-1').closest('details');
        return new Promise(done => setTimeout(() => done(panel.open), 50));
    })()"""
    assert tab.evaluate(opened) is True


def test_on_paper_everything_is_black_on_white_and_unfolded(tab, reported):
    tab.open(reported["whole"] / "report.html", 800, scheme="dark", media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = false)")
    heights = tab.evaluate("[...document.querySelectorAll('details')].map(each => each.offsetHeight)")
    assert min(heights) > 60


def test_hostile_text_is_text(tab, reported_hostile):
    tab.open(reported_hostile / "report.html", 390)
    assert tab.evaluate("document.title") == f"{reported_hostile.name}: report"
    assert tab.evaluate("document.querySelector('h1').innerText") == reported_hostile.name
    assert tab.evaluate("document.querySelectorAll('script, iframe, object, embed, form, base, link').length") == 0
    shown = tab.evaluate("document.body.innerText")
    for text in EVIL[:6]:
        assert text in shown
    attributes = tab.evaluate("[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))")
    assert not [name for name in attributes if name.startswith("on")]
