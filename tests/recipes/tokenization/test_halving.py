"""What does not fit into memory is halved, remembered, and announced once."""

import errno
import math
import weakref

import pytest
import torch

from intaglio.recipes.errors import is_out_of_memory
from intaglio.recipes.tokenization.halving import Halving

SHORT = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:126] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error",
    [
        SHORT,
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a memory object"),
        RuntimeError("hipMalloc failed to allocate 9 bytes"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_short_memory_looks_like(error):
    assert is_out_of_memory(error)
    try:
        raise ValueError("a.png is damaged") from error
    except ValueError as fault:
        assert is_out_of_memory(fault)


def test_what_it_does_not_look_like():
    for error in (ValueError("out of memory"), RuntimeError("shape"), OSError(errno.EIO, "memory")):
        assert not is_out_of_memory(error)


class Machine:
    """Doubles numbers, so many at once."""

    def __init__(self, fits, error=SHORT):
        self.fits, self.error, self.tried = fits, error, []

    def double(self, numbers):
        self.tried.append(len(numbers))
        if len(numbers) > self.fits:
            raise self.error
        return [2 * number for number in numbers]


@pytest.mark.parametrize("error", [SHORT, MemoryError(), torch.OutOfMemoryError("")])
def test_batches_are_halved_until_they_fit_and_stay_so(capsys, error):
    machine, halving = Machine(3, error), Halving(16, least=1, unit="numbers at once")
    assert list(halving.map(range(20), machine.double)) == [2 * number for number in range(20)]
    assert machine.tried == [16, 8, 4, 2, *[2] * 9]
    assert list(halving.map(range(2), machine.double)) == [0, 2]
    assert capsys.readouterr().err == (
        "intaglio: memory is short: it goes on with 2 numbers at once\n"
    )


def test_without_a_size_all_are_taken_at_first(capsys):
    machine, halving = Machine(99), Halving(math.inf, least=1, unit="numbers at once")
    assert len(list(halving.map(range(70), machine.double))) == 70
    assert machine.tried == [70] and capsys.readouterr().err == ""


def test_an_item_that_does_not_fit_alone_is_left_to_the_caller_and_changes_nothing(capsys):
    def double(numbers):
        if 5 in numbers:
            raise MemoryError
        return [2 * number for number in numbers]

    halving = Halving(4, least=1, unit="numbers at once")
    results = list(halving.map(range(12), double))
    assert isinstance(results.pop(5), MemoryError)
    assert results == [2 * number for number in range(12) if number != 5]
    with pytest.raises(MemoryError):
        Halving(4, least=0.5, unit="").run(lambda size: double([5]))


def test_an_item_that_fails_otherwise_is_found_among_its_batch(capsys):
    def double(numbers):
        if 5 in numbers:
            raise KeyError("five")
        return [2 * number for number in numbers]

    halving = Halving(4, least=1, unit="numbers at once")
    results = list(halving.map(range(12), double))
    assert isinstance(results.pop(5), KeyError) and len(results) == 11
    assert halving.size == 4 and capsys.readouterr().err == ""


def test_a_block_is_halved_until_it_fits(capsys):
    tried = []

    def work(size):
        tried.append(size)
        if size > 0.3:
            raise SHORT
        return size

    halving = Halving(2.0, least=1 / 8, unit="seconds at once")
    assert [halving.run(work), halving.run(work)] == [0.25, 0.25]
    assert tried == [2, 1, 0.5, 0.25, 0.25]
    assert capsys.readouterr().err.count("memory is short") == 1
    with pytest.raises(ValueError, match="another"):
        halving.run(lambda size: (_ for _ in ()).throw(ValueError("another")))


class Big:
    """Stands for a tensor."""


def test_what_had_been_made_is_freed_before_it_is_tried_again():
    made = []

    def work(size):
        assert not any(reference() for reference in made)
        big = Big()
        made.append(weakref.ref(big))
        if size > 1:
            raise MemoryError
        return [size]

    assert Halving(8.0, least=1, unit="").run(work) == [1]
    halving = Halving(8, least=1, unit="")
    assert list(halving.map(range(4), lambda batch: len(batch) * work(len(batch)))) == [1] * 4
    assert len(made) == 4 + 6
