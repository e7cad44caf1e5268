"""The page of the server, in a real browser."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect
from served import draw_bytes, make_service, save_untrained, served

from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, FilePayload

    Opener = Callable[..., Page]

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
NAMES = ["animal", "bird", "owl", HOSTILE, "</script><script>document.title='taken'</script>", "plant"]
PARENTS = [ROOT, 0, 1, 1, 0, ROOT]
expect.set_options(timeout=60_000)
NUM_MORE = 60
"""Further classes below `plant`: more than are shown at once."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    names = [*NAMES, *(f"herb {number}" for number in range(NUM_MORE))]
    parents = PARENTS + [NAMES.index("plant")] * NUM_MORE
    runs = {
        name: save_untrained(folder / f"{seed}", names, parents, seed)
        for seed, name in enumerate(["left", f"right {HOSTILE}"])
    }
    service = make_service(runs, max_pictures=8)
    with served(service) as address:
        yield address


@pytest.fixture
def open_served(browser: Browser, address: str) -> Iterator[Opener]:
    """Opens the page; a request to elsewhere, an error or a message on the console fails the test."""
    contexts = []
    asked: list[str] = []
    broken: list[str] = []
    expected: list[str] = []

    def open_served(*, width: int = 1000, scheme: Any = "light", told: str = "", **more: Any) -> Page:  # noqa: ANN401
        context = browser.new_context(
            viewport={"width": width, "height": 740}, color_scheme=scheme, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda message: broken.append(message.text))
        if told:
            expected.append(told)
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_served
    assert [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))] == []
    assert [line for line in broken if not any(part in line for part in expected)] == []
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_served: Opener) -> Page:
    """The page with one model chosen."""
    page = open_served()
    page.get_by_label("Beside it").select_option("")
    return page


def payload(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def choose(page: Page, *files: FilePayload) -> Locator:
    """Choose files and wait until all are answered; return the first card."""
    page.get_by_label("Choose pictures").set_input_files(list(files))
    card = page.get_by_role("article", name=files[0]["name"])
    expect(card).to_be_visible()
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    return card


def ask(address: str, data: bytes, **fields: str) -> dict[str, Any]:
    """Return what the API answers."""
    told = httpx.post(f"{address}/api/predict", files={"images": ("a.jpg", data)}, data=fields).json()
    answer: dict[str, Any] = told["images"][0]["answers"][0]
    return answer


def kept(card: Locator) -> list[str]:
    """Return the ids of the labels that are kept."""
    steps = card.get_by_role("list", name="Labels").first.locator(".kept > .step")
    return [str(step.get_attribute("title")) for step in steps.all()]


def test_a_chosen_picture_is_named_as_by_the_api(page: Page, address: str) -> None:
    picture = draw_bytes()
    card = choose(page, payload("owl.jpg", picture))
    told = ask(address, picture)
    steps = card.get_by_role("list", name="Labels").locator(".step")
    assert [step.get_attribute("title") for step in steps.all()] == [
        step["id"] for step in told["path"] + told["beyond"]
    ]
    assert kept(card) == [step["id"] for step in told["path"]]
    expect(card.get_by_role("img", name="owl.jpg")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("owl.jpg: ")


@pytest.mark.parametrize("rule", ["path", "official"])
def test_the_slider_cuts_as_the_server_does(page: Page, address: str, rule: str) -> None:
    picture = draw_bytes(seed=1)
    page.get_by_label("Rule").select_option(rule)
    card = choose(page, payload("a.jpg", picture))
    for threshold in ("0", "0.2", "0.45", "0.5", "0.9", "1"):
        page.get_by_label("Threshold").fill(threshold)
        told = ask(address, picture, rule=rule, threshold=threshold)
        assert kept(card) == [step["id"] for step in told["path"]], threshold


def test_another_rule_asks_again(page: Page, address: str) -> None:
    picture = draw_bytes(seed=2)
    card = choose(page, payload("a.jpg", picture))
    page.get_by_label("Rule").select_option("leaf")
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    assert kept(card) == [step["id"] for step in ask(address, picture, rule="leaf")["path"]]
    expect(page.get_by_label("Threshold")).to_be_disabled()


def test_several_pictures_keep_their_order_and_a_bad_one_says_why(open_served: Opener) -> None:
    page = open_served(told="422")
    page.get_by_label("Beside it").select_option("")
    files = [payload(f"{number}.jpg", draw_bytes(seed=number)) for number in range(4)]
    bad = payload("notes.txt", b"no picture")
    choose(page, *files, bad)
    names = page.get_by_role("article").evaluate_all("(cards) => cards.map((card) => card.ariaLabel)")
    assert names == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "notes.txt"]
    expect(page.get_by_role("article", name="notes.txt")).to_contain_text("not an image")
    expect(page.get_by_role("status")).to_have_text("5 pictures named, 1 could not be.")
    tree = page.get_by_role("article", name="2.jpg").get_by_role("button", name="Show the tree")
    tree.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="2.jpg").locator("summary").first).to_be_focused()
    page.get_by_role("button", name="Remove 1.jpg").click()
    expect(page.get_by_role("article")).to_have_count(4)
    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_role("article")).to_have_count(0)


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pictures_can_be_pasted_and_dropped(page: Page, kind: str) -> None:
    packed = base64.b64encode(draw_bytes()).decode()
    page.evaluate(
        """([kind, packed]) => {
          const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], "given.jpg", { type: "image/jpeg" }));
          const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
        }""",
        [kind, packed],
    )
    card = page.get_by_role("article", name="given.jpg")
    expect(card.get_by_role("list", name="Labels")).to_be_visible()


def test_branches_open_and_close_by_keyboard(page: Page) -> None:
    card = choose(page, payload("a.jpg", draw_bytes()))
    branch = card.locator("details", has_text="plant").first
    summary = branch.locator("summary").first
    was_open = branch.evaluate("(node) => node.open")
    summary.focus()
    page.keyboard.press("Enter")
    assert branch.evaluate("(node) => node.open") != was_open
    page.keyboard.press("Space")
    assert branch.evaluate("(node) => node.open") == was_open
    if not was_open:
        page.keyboard.press("Enter")
    herbs = branch.get_by_role("list", name="Kinds of plant").locator("> li > .row")
    expect(herbs).to_have_count(3)
    branch.get_by_role("button", name="57 more").press("Enter")
    expect(herbs).to_have_count(23)
    expect(herbs.nth(3)).to_be_focused()
    shares = [
        float(width[:-1])
        for width in herbs.locator("i").evaluate_all("(bars) => bars.map((bar) => bar.style.width)")
    ]
    assert shares == sorted(shares, reverse=True)


def test_a_class_is_found_shown_and_told_of(page: Page, address: str) -> None:
    picture = draw_bytes()
    card = choose(page, payload("a.jpg", picture))
    query = page.get_by_role("combobox", name="Find a class")
    query.focus()
    page.keyboard.type("herb 4")
    expect(page.get_by_role("option").first).to_contain_text("herb 4")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#matches").get_by_role("option", selected=True)).to_contain_text("herb 40")
    page.keyboard.press("Enter")
    found = page.get_by_role("region", name="The class that was looked up")
    expect(found.get_by_role("heading")).to_have_text("plant \u203a herb 40")
    row = card.locator(".row.is-found")
    expect(row).to_be_visible()
    expect(row.locator(".name")).to_have_text("herb 40")
    share = ask(address, picture, probabilities="true")["probabilities"][NAMES.index("plant") + 41]
    width = float(str(row.locator("i").evaluate("(bar) => bar.style.width"))[:-1])
    assert width == pytest.approx(100 * share, abs=0.01)
    expect(found.get_by_role("row")).to_contain_text("a.jpg")
    found.get_by_role("button", name="Close").click()
    expect(found).to_be_hidden()
    query.fill("no such thing")
    expect(page.locator("#matches").get_by_role("option")).to_have_text(
        "no class has this in name or id"
    )


def test_an_improbable_class_is_shown_without_all_before_it(page: Page, address: str) -> None:
    picture = draw_bytes()
    shares = ask(address, picture, probabilities="true")["probabilities"][len(NAMES) :]
    least = f"herb {shares.index(min(shares))}"
    card = choose(page, payload("a.jpg", picture))
    page.get_by_role("combobox", name="Find a class").fill(least)
    expect(page.locator("#matches").get_by_role("option").first).to_contain_text(least)
    page.keyboard.press("Enter")
    names = card.get_by_role("list", name="Kinds of plant").locator("> li > .row > .name")
    expect(names).to_have_count(4)
    expect(names.nth(3)).to_have_text(least)
    card.get_by_role("button", name="56 more").click()
    expect(names).to_have_count(24)
    order = sorted(range(NUM_MORE), key=lambda number: -shares[number])
    expected = [f"herb {number}" for number in order]
    assert names.all_text_contents() == [*expected[:23], least]


def test_two_models_stand_side_by_side_and_where_they_part_is_said(
    open_served: Opener, address: str
) -> None:
    page = open_served()
    for seed in range(6):
        picture = draw_bytes(seed=seed)
        card = choose(page, payload(f"{seed}.jpg", picture))
        right = f"right {HOSTILE}"
        paths = [
            [step["id"] for step in ask(address, picture, model=model)["path"]]
            for model in ("left", right)
        ]
        boxes = [card.get_by_role("region", name=name).bounding_box() for name in ("left", right)]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[1]["x"] > boxes[0]["x"] + boxes[0]["width"] - 1
        marked = card.locator(".parted > .step")
        places = [
            place for place in range(6) if len({tuple(path[place : place + 1]) for path in paths}) > 1
        ]
        if places:
            expected = [path[places[0]] for path in paths if len(path) > places[0]]
            assert [step.get_attribute("title") for step in marked.all()] == expected
            expect(card.locator(".verdict")).to_contain_text("says" if expected else "unsure")
        else:
            expect(marked).to_have_count(0)
            expect(card.locator(".verdict")).to_contain_text("Both")
    page.get_by_label("Beside it").select_option("")
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".verdict")).to_have_count(0)


def test_hostile_names_are_text(page: Page) -> None:
    card = choose(page, payload(f"{HOSTILE}.jpg", draw_bytes()))
    page.get_by_role("combobox", name="Find a class").fill("taken")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(card.locator(".row.is-found .name")).to_contain_text("taken")
    expect(card.locator("figcaption")).to_have_text(f"{HOSTILE}.jpg")
    expect(page).to_have_title(re.compile("left"))
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 1


def test_a_screen_reader_is_told_of_everything(page: Page) -> None:
    choose(page, payload("owl.jpg", draw_bytes()))
    told = page.get_by_role("article", name="owl.jpg").aria_snapshot()
    assert 'article "owl.jpg"' in told
    assert 'img "owl.jpg"' in told
    assert 'list "Labels"' in told
    assert 'list "The tree, by left"' in told
    assert re.search(r"(animal|plant) \S+ %", told)
    whole = page.locator("body").aria_snapshot()
    for part in ('heading "hypernym" [level=1]', 'slider "Threshold"', 'combobox "Rule"', "- status"):
        assert part in whole
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary, img")].filter((node) =>
          !(node.labels?.length || node.ariaLabel || node.alt || node.textContent.trim()
            || node.querySelector?.("img[alt]"))).length"""
    )
    assert unnamed == 0


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => colour.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || !node.checkVisibility() || node.matches("script, noscript, option")) continue;
    const pair = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), node.className || node.tagName, node.textContent]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(open_served: Opener, scheme: str) -> None:
    page = open_served(scheme=scheme)
    choose(page, payload("owl.jpg", draw_bytes()))
    page.get_by_role("combobox", name="Find a class").fill("bird")
    expect(page.locator("#matches").get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(".row.is-found").first).to_be_visible()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = int(str(re.findall(r"\d+", paper)[0])) < 80
    assert is_dark == (scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert contrasts[0][0] >= 4.5, contrasts[:3]


def test_a_phone_scrolls_in_one_direction(open_served: Opener) -> None:
    page = open_served(width=360, has_touch=True, is_mobile=True)
    for name in ("owl.jpg", f"{'long' * 40}.jpg"):
        card = choose(page, payload(name, draw_bytes()))
        expect(card.locator("summary").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("combobox", name="Find a class").fill("taken")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#class")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    heights = page.locator("summary, button:visible, select").evaluate_all(
        "(nodes) => nodes.filter((node) => node.checkVisibility()).map((node) => node.offsetHeight)"
    )
    assert min(heights) >= 30


def test_a_picture_that_is_too_large_is_not_sent(page: Page) -> None:
    card = choose(page, payload("large.jpg", bytes(1 << 20)))
    expect(card).to_contain_text("large.jpg is larger than 1 MiB.")
    expect(page.get_by_role("status")).to_have_text("large.jpg is larger than 1 MiB.")


def test_a_busy_server_is_asked_again(open_served: Opener) -> None:
    page = open_served(told="503")
    refused: list[int] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(1)
            route.fulfill(
                status=503, headers={"Retry-After": "0.1"}, json={"error": "too many are waiting."}
            )

    page.route("**/api/predict", refuse_once)
    card = choose(page, payload("a.jpg", draw_bytes()))
    expect(card.get_by_role("list", name="Labels").first).to_be_visible()
    assert refused


def test_a_server_that_is_gone_is_told_of(open_served: Opener) -> None:
    page = open_served(told="ERR_")
    page.route("**/api/predict", lambda route: route.abort())
    card = choose(page, payload("a.jpg", draw_bytes()))
    expect(card).to_contain_text("The server does not answer.")


def test_the_page_moves_nothing_for_those_who_asked_for_it(open_served: Opener) -> None:
    page = open_served(reduced_motion="reduce")
    choose(page, payload("a.jpg", draw_bytes()))
    moving = page.evaluate(
        "() => [...document.querySelectorAll('*')].filter((node) => ['', '::before'].some((part) => {"
        "const style = getComputedStyle(node, part); return style.animationName !== 'none'"
        " || parseFloat(style.transitionDuration) > 0; })).length"
    )
    assert moving == 0


def test_answers_that_are_not_wanted_any_more_are_given_up(open_served: Opener) -> None:
    page = open_served()
    page.get_by_label("Beside it").select_option("")
    sent: list[Route] = []
    is_held = True

    def hold(route: Route) -> None:
        sent.append(route)
        if not is_held:
            route.continue_()

    page.route("**/api/predict", hold)
    files = [payload(f"{number}.jpg", draw_bytes(seed=number)) for number in range(10)]
    page.get_by_label("Choose pictures").set_input_files(files)
    expect(page.get_by_role("article")).to_have_count(10)
    wait_until(page, lambda: len(sent) == 4)  # as many as are under way at a time
    page.get_by_label("Rule").select_option("leaf")
    wait_until(page, lambda: len(sent) == 8)
    page.get_by_role("button", name="Remove 8.jpg").click()
    page.get_by_role("button", name="Remove 3.jpg").click()
    wait_until(page, lambda: len(sent) == 9)
    is_held = False
    for route in sent[4:]:  # those sent together come in any order
        if b"3.jpg" not in (route.request.post_data_buffer or b""):
            route.continue_()
    expect(page.locator("article[aria-busy=true]")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("8 pictures named.")
    assert len(sent) == 4 + 9  # 8.jpg never came to its turn


def wait_until(page: Page, is_true: Callable[[], bool]) -> None:
    """Wait for what the browser does to reach the test, for thirty seconds."""
    for _ in range(3_000):
        if is_true():
            return
        page.wait_for_timeout(10)
    pytest.fail("it did not happen")


def test_a_picture_that_was_removed_is_not_asked_for_again(open_served: Opener) -> None:
    page = open_served(told="503")
    page.clock.install()
    asked: list[int] = []

    def refuse(route: Route) -> None:
        asked.append(1)
        route.fulfill(status=503, headers={"Retry-After": "60"}, json={"error": "too many."})

    page.route("**/api/predict", refuse)
    with page.expect_event("requestfinished"):
        page.get_by_label("Choose pictures").set_input_files([payload("a.jpg", draw_bytes())])
    page.get_by_role("button", name="Remove all").click()
    page.clock.fast_forward(61_000)
    expect(page.get_by_role("status")).to_have_text("All pictures are removed.")
    page.wait_for_timeout(200)
    assert len(asked) == 1


def test_classes_that_did_not_come_are_asked_for_again(open_served: Opener) -> None:
    page = open_served(told="50")
    page.get_by_label("Beside it").select_option("")
    answers = [503, 500]

    def refuse(route: Route) -> None:
        if answers:
            route.fulfill(
                status=answers.pop(0), headers={"Retry-After": "0.1"}, json={"error": "it failed."}
            )
        else:
            route.continue_()

    page.route("**/api/tree*", refuse)
    query = page.get_by_role("combobox", name="Find a class")
    query.fill("owl")
    expect(page.get_by_role("status")).to_have_text("it failed.")
    assert answers == []
    query.fill("ow")
    expect(page.get_by_role("option").first).to_contain_text("owl")
