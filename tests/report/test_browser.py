"""The page in headless Chromium: nothing on the console, nothing asked of a network, and it does what it should."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isospike.data import ImageSet
from isospike.experiment.measuring import measure_simulation
from isospike.experiment.sections import NoiseSection, SimulateSection
from isospike.graph import load_graph
from isospike.report import digest_graph, write_report, write_sample
from isospike.report.sample_tracing import trace_sample

from .pages import COMPARISON, CONFUSION, ROBUSTNESS, write_file

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (it comes with .[test])")

RESULTS = Path(__file__).parents[2] / "results"
STEPS = 4
PHONE, DESK = 360, 1200


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, with its console and its requests on record."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium or no chromedriver here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published CIFAR-10 network of nine layers, over a few images of noise: the pictures are not in the
    repository."""
    folder = Path(shutil.copytree(RESULTS / "all-integer-cifar10-short", tmp_path_factory.mktemp("cifar") / "run"))
    graph = load_graph(folder / "snn.safetensors")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, *graph.input.shape), dtype=torch.uint8, generator=generator)
    test = ImageSet(images, torch.tensor([1, 2, 3]))
    settings = SimulateSection(steps=STEPS, batch_size=3)
    _, sections = measure_simulation(
        graph,
        test,
        settings,
        NoiseSection(),
        seeds=[0],
        device="cpu",
        follow=lambda total: lambda done: None,  # noqa: ARG005
    )
    write_file(folder, "metrics.json", {"recipe": "cifar", **sections})
    digest = digest_graph(folder) or ""
    sample = trace_sample(graph, images[0], 1, steps=STEPS, place=0, command="test", digest=digest)
    write_sample(sample, folder)
    write_file(folder, "robustness.json", {**ROBUSTNESS, "graph": digest})
    write_file(folder, "confusion.json", {**CONFUSION, "graph": digest})
    write_file(folder, "comparison/comparison.json", COMPARISON)
    return folder


@pytest.fixture(params=["digits", "cifar", "both"])
def page(request: pytest.FixtureRequest, browser: Any, digits: Path, cifar: Path, tmp_path: Path) -> Path:
    """A page, opened at the width of a desk."""
    folders = {"digits": [digits], "cifar": [cifar], "both": [digits, cifar]}[request.param]
    out = write_report(folders, tmp_path / "report.html", "isospike report")
    assert out.stat().st_size < 3_000_000
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    open_page(browser, out, DESK)
    return out


def open_page(browser: Any, page: Path, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def list_requests(browser: Any) -> list[str]:
    """The addresses that the page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


def read_accuracy(browser: Any) -> float:
    """What the table beside the slider says of the first run."""
    return float(browser.execute_script("return document.querySelector('#readout tbody td data').value"))


def press(browser: Any, selector: str, key: str) -> None:
    browser.find_element("css selector", selector).send_keys(key)


def test_a_quiet_console_and_no_request_but_the_page(browser: Any, page: Path) -> None:
    assert browser.get_log("browser") == []
    assert list_requests(browser) == [page.as_uri()]
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


@pytest.mark.usefixtures("page")
def test_the_slider_changes_the_shown_accuracy(browser: Any) -> None:
    data = json.loads(browser.execute_script("return document.getElementById('data').textContent"))
    shown = [row[0][1] for row in data["readout"]["runs"][0]]
    assert read_accuracy(browser) == shown[-1]
    home, right = "\ue011", "\ue014"
    press(browser, "#step", home)
    assert read_accuracy(browser) == shown[0]
    press(browser, "#step", right)
    assert read_accuracy(browser) == shown[1]
    spikes, sops = browser.execute_script(
        "return Array.from(document.querySelectorAll('#readout tbody tr:first-child td')).slice(3, 5)"
        ".map(cell => Number(cell.querySelector('data').value))"
    )
    assert [spikes, sops] == [exact for _, exact in data["readout"]["runs"][0][1][3:5]]
    assert "step 2" in browser.execute_script("return document.getElementById('step').getAttribute('aria-valuetext')")
    lines = browser.execute_script(
        "return Array.from(document.querySelectorAll('.cursor.on')).map(line => "
        "line.getAttribute('x1') === line.dataset.places.split(' ')[1])"
    )
    assert lines and all(lines)


@pytest.mark.usefixtures("page")
def test_the_table_sorts(browser: Any) -> None:
    table = "document.querySelector('#layers table.sortable')"
    heads = browser.execute_script(f"return Array.from({table}.tHead.rows[0].cells).map(cell => cell.textContent)")
    column = heads.index("SOPs")

    def click() -> tuple[list[float | None], list[str]]:
        browser.execute_script(f"{table}.tHead.rows[0].cells[{column}].querySelector('button').click()")
        values = browser.execute_script(
            f"return Array.from({table}.tBodies[0].rows).map(row => row.cells[{column}].querySelector('data'))"
            ".map(data => data ? Number(data.value) : null)"
        )
        return values, browser.execute_script(
            f"return Array.from({table}.tHead.rows[0].cells).map(cell => cell.getAttribute('aria-sort'))"
        )

    values, marks = click()
    known = [value for value in values if value is not None]
    assert len(known) >= 3
    assert known == sorted(known)
    assert values[: len(known)] == known, "what has no number comes last"
    assert marks == ["ascending" if index == column else "none" for index in range(len(heads))]
    values, marks = click()
    assert values[: len(known)] == sorted(known, reverse=True)
    assert marks[column] == "descending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(browser: Any, page: Path, scheme: str) -> None:
    open_page(browser, page, PHONE, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    width, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert (width, seen) == (PHONE, PHONE)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, paper.removeprefix("rgb(").removesuffix(")").split(","))) / 3
    assert shade < 60 if scheme == "dark" else shade > 200
    assert browser.get_log("browser") == []


@pytest.mark.usefixtures("page")
def test_one_layer_of_the_sample_at_a_time(browser: Any) -> None:
    seen = (
        "return Array.from(document.querySelectorAll('.sample:first-of-type .layer'))"
        ".map(each => each.offsetHeight > 0)"
    )
    layers = browser.execute_script(seen)
    assert layers.count(True) == 1
    browser.execute_script(
        "const choice = document.querySelector('.layer-choice'); choice.selectedIndex = choice.options.length - 1;"
        "choice.dispatchEvent(new Event('change'))"
    )
    assert browser.execute_script(seen) == [False] * (len(layers) - 1) + [True]


@pytest.mark.usefixtures("page")
def test_the_matrix_of_an_earlier_step(browser: Any) -> None:
    read = "return Array.from(document.querySelectorAll('#matrix-0 tbody td')).map(cell => Number(cell.textContent))"
    data = json.loads(browser.execute_script("return document.getElementById('data').textContent"))["confusions"][0]
    last = [int(number) for row in data[-1] for number, _ in row]
    assert browser.execute_script(read) == last
    press(browser, ".confusion-step", "\ue011")
    first = [int(number) for row in data[0] for number, _ in row]
    assert browser.execute_script(read) == first != last
