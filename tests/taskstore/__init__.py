import pytest

# before anything imports it: the comparison of contents is an assertion, and says what differs
pytest.register_assert_rewrite("tests.taskstore.state")
