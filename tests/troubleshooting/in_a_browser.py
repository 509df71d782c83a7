"""What a browser says on its console. Skipped where there is no Chromium."""

from tests.gateway.conftest import StartGateway
from tests.page.chromium import Chromium
from tests.page.site import served_page

from .provoke import provokes


@provokes("cors-blocked")
def a_page_that_is_not_listed(chromium: Chromium, start_gateway: StartGateway) -> str:
    gateway = start_gateway(cors_origins="https://app.example.com")
    with served_page() as port, chromium.page() as page:
        page.open(f"http://localhost:{port}/style.css")  # of the same origin as the page, and calls nothing by itself
        assert page.run(f"fetch('{gateway.url}/models').then(() => 'read', error => error.name)") == "TypeError"
        return "\n".join(page.complaints())
