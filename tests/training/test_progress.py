from molino.training.progress import Progress


def test_a_part_is_a_part_of_all():
    progress = Progress()
    assert progress.how_far() == (0.0, "reading")
    progress.show(1, 4, 2.5)
    assert progress.how_far() == (0.25, "training, loss 2.5000")
    progress.part(1, 4)
    progress.show(1, 2, "measuring")
    assert progress.how_far() == (0.375, "measuring")
