"""What a person sees who opens the pages of the walk's runs in a browser, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.pipeline import ENVIRONMENT, Pipeline
from sandbox.runs import Run
from tests.pipeline.conftest import newest

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("walked")]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    page.close()


def artifact(page: Page, pipeline: Pipeline, run: Run, key: str) -> None:
    """Open the page of one of a run's reports, by clicking from the run's page."""
    page.goto(pipeline.runs.url(run))
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text(key, exact=True).last.click()


def test_a_blocked_release_says_what_and_why_and_what_to_do(pipeline: Pipeline, page: Page) -> None:
    """The page has the verdict; its reports name file, line, package, fixed version and the way out."""
    run = newest(pipeline, "release", "Blocked")

    page.goto(pipeline.runs.url(run))
    expect(page.get_by_text(run.name, exact=True).first).to_be_visible()
    expect(page.get_by_text("Blocked", exact=True).first).to_be_visible()
    expect(page.get_by_text("repository:shop", exact=True).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).click()
    expect(page.get_by_text("BLOCKED for dev").first).to_be_visible()

    artifact(page, pipeline, run, "gate")
    expect(page.get_by_text("revoke the credential first").first).to_be_visible()
    expect(page.get_by_text("secret aws-access-key-id in shop/payment.py:1").first).to_be_visible()
    expect(page.get_by_text("CVE-2023-43804 in urllib3 1.26.0 (fixed in 1.26.17").first).to_be_visible()

    artifact(page, pipeline, run, "scan")
    expect(page.get_by_role("columnheader", name="fixed in")).to_be_visible()
    expect(page.get_by_text("CRITICAL").first).to_be_visible()


def test_a_resync_with_drift_says_what_was_changed_by_whom(pipeline: Pipeline, page: Page) -> None:
    """The run's page has the verdict; its report has a row for each field with both values, manager and decision."""
    run = newest(pipeline, "resync", "drift undone")

    page.goto(pipeline.runs.url(run))
    expect(page.get_by_text(run.name, exact=True).first).to_be_visible()
    expect(page.get_by_text(f"environment:{ENVIRONMENT}", exact=True).first).to_be_visible()

    artifact(page, pipeline, run, "drift")
    expect(page.get_by_text("spec.replicas").first).to_be_visible()
    expect(page.get_by_text("kubectl").first).to_be_visible()


def test_a_deploy_can_be_started_as_a_form(pipeline: Pipeline, page: Page) -> None:
    """The form of a deploy describes its parameters, and offers the host's environments."""
    page.goto(f"{pipeline.runs.page}/deployments")
    page.get_by_role("link", name="sandbox").first.click()
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Custom run").first.click()

    expect(page.get_by_text("The environment, by its name in the CD host's cd.yaml.").first).to_be_visible()
