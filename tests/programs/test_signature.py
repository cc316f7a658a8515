from typing import get_args

from fakes import toy_task

from programs.signature import signature_for


def test_answer_space_is_the_labels_in_order():
    task = toy_task()
    signature = signature_for(task)
    assert list(signature.input_fields) == ["text"]
    assert list(signature.output_fields) == ["label"]
    assert get_args(signature.output_fields["label"].annotation) == task.names
    assert signature.instructions == task.instructions
