"""Where machine code comes from: extension modules only."""

from __future__ import annotations

from sipalg import builds
from sipalg.codec.machine import machine_code, new, quick
from sipalg.engine.verdict import Endpoint


def test_a_function_of_an_extension_module_is_machine_code() -> None:
    function = machine_code("_multibytecodec", "__create_codec")
    assert callable(function)


def test_python_is_none_and_so_is_what_is_not_there() -> None:
    assert machine_code("json", "loads") is None
    assert machine_code("sipalg.codec.nothing", "frame") is None


def test_what_is_made_of_its_values_is_what_its_own_constructor_makes() -> None:
    made = new(Endpoint, ("192.168.33.10", 5060))
    assert (type(made), made) == (Endpoint, Endpoint("192.168.33.10", 5060))


def test_the_codecs_own_is_there_in_the_compiled_build_only() -> None:
    assert (quick("frame") is not None) == (builds.running() == "compiled")
