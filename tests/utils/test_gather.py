import torch

from utils.gather import gather_rows


def many(*rows: int):
    source = torch.Generator().manual_seed(0)
    table = torch.randn(30, 5, dtype=torch.float64, generator=source, requires_grad=True)
    return table, torch.randint(30, rows, generator=source)


def test_rows_and_their_gradient_are_those_of_a_product_with_ones():
    table, rows = many(40, 7)
    given = torch.randn(40, 7, 5, dtype=torch.float64)
    ones = torch.nn.functional.one_hot(rows, 30).double()
    torch.testing.assert_close(gather_rows(table, rows), ones @ table)
    gather_rows(table, rows).backward(given)
    torch.testing.assert_close(table.grad, torch.einsum("abm,abd->md", ones, given))


def test_the_gradient_has_the_same_bits_for_any_number_of_threads():
    table, rows = many(50_000)
    table = table.detach().float().requires_grad_()
    given = torch.randn(50_000, 5)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            table.grad = None
            gather_rows(table, rows).backward(given)
            found.append(table.grad)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
