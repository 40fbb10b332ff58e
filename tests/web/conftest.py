"""Without the extra for the web there is nothing to test."""

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")
