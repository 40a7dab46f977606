"""Every sentence of SECURITY.md about token files, images and sounds has tests, which exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORMATS = "data/formats/test_"
COMMANDS = "recipes/commands/test_"

# The first words of each sentence, and where it is tested: a file under tests, and functions in it.
BORNE = {
    "Token files": {
        "A changed bit": {
            FORMATS + "tokens.py": [
                "test_every_flipped_bit_is_detected",
                "test_every_truncation_is_detected_and_named",
                "test_every_appended_byte_is_detected",
            ],
        },
        "A right checksum": {
            FORMATS + "tokens.py": [
                "test_lies_with_correct_checksums_are_refused",
                "test_a_header_that_breaks_the_contract_is_refused",
            ],
            FORMATS + "hostile_tokens.py": [
                "test_mutants_are_read_or_refused_in_time_and_memory",
                "test_a_million_mutants_are_read_or_refused_in_time_and_memory",
            ],
        },
        "Reading costs at most": {
            FORMATS + "hostile_tokens.py": ["test_reading_costs_in_proportion_to_the_file"],
        },
        "What would cost more": {
            FORMATS + "hostile_tokens.py": [
                "test_what_would_cost_too_much_is_refused_from_the_header"
            ],
            FORMATS + "tokens.py": [
                "test_a_lie_about_positions_is_refused_without_allocating",
                "test_a_lie_about_the_size_of_a_frame_is_refused_without_allocating",
            ],
        },
        "Only the codec": {
            COMMANDS + "decode.py": ["test_another_codec_is_refused_and_both_are_named"]
        },
        "Nothing is written": {
            COMMANDS + "any_file.py": ["test_damage_far_in_is_found_before_anything_is_written"],
            COMMANDS + "decode.py": ["test_a_bad_token_file_is_one_line_and_leaves_nothing"],
        },
    },
    "Images": {
        "Only the formats": {
            FORMATS + "open_image.py": [
                "test_no_other_format_is_opened_under_a_common_name",
                "test_what_is_not_promised_is_opened_under_no_name",
                "test_every_promised_format_is_read",
                "test_pictures_are_opened_in_one_place",
            ],
        },
        "The size in the header": {
            FORMATS + "image.py": [
                "test_images_that_claim_too_much_are_refused_before_they_are_decoded"
            ],
            FORMATS + "open_image.py": [
                "test_the_size_of_a_large_png_costs_no_pixels",
                "test_memory_is_limited_by_the_format",
            ],
        },
        "Of several frames": {
            FORMATS + "open_image.py": ["test_only_the_first_of_many_frames_is_read"]
        },
        "What is refused": {
            FORMATS + "hostile_images.py": [
                "test_bombs_cost_little",
                "test_large_bombs_cost_little",
                "test_floods_are_refused_for_what_they_are_made_of",
                "test_what_is_made_of_many_pieces_for_a_reason_is_read",
            ],
        },
        "An image that takes": {
            FORMATS + "hostile_images.py": ["test_floods_are_refused_for_what_they_are_made_of"],
            FORMATS + "open_image.py": ["test_memory_is_limited_by_the_format"],
        },
        "PNM as text": {
            FORMATS + "hostile_images.py": [
                "test_numbers_and_run_lengths_take_little_time",
                "test_bombs_cost_little",
            ],
        },
        "Every checksum": {
            FORMATS + "open_image.py": [
                "test_one_changed_byte_of_a_png_is_refused_or_changes_no_pixel",
                "test_a_png_without_its_end_is_truncated",
            ],
        },
        "Damage": {
            FORMATS + "image.py": ["test_damage_is_refused_in_one_line_or_reads_as_an_image"]
        },
        "`encode`": {
            "recipes/tokenization/test_encoding_memory.py": [
                "test_an_image_that_does_not_fit_is_refused"
            ],
        },
    },
    "Sounds": {
        "What is refused": {
            FORMATS + "hostile_sounds.py": [
                "test_floods_are_refused_at_once_for_what_they_are_made_of",
                "test_large_bombs_cost_little",
                "test_a_file_may_have_as_many_pieces_as_its_size_is_for",
            ],
            FORMATS + "open_audio.py": ["test_refusals_are_quick_and_quiet"],
        },
        "A file that is read": {
            FORMATS + "hostile_sounds.py": ["test_long_recordings_are_read_in_parts"],
            "recipes/tokenization/test_batch.py": [
                "test_sound_is_tokenized_up_to_64_samples_for_each_byte"
            ],
        },
        "To look through": {
            FORMATS + "hostile_sounds.py": ["test_slow_decoders_take_time_by_the_size"],
        },
        "A file is opened": {FORMATS + "wave.py": ["test_a_playlist_does_not_open_what_it_names"]},
        "Damage": {"data/test_damage.py": ["test_600_damaged_recordings_are_named_or_sound"]},
        "A pipe": {
            FORMATS + "regular_file.py": ["test_a_pipe_that_nobody_writes_to_does_not_hang"]
        },
    },
}


def sentences(section):
    """The list items of a section, each on one line."""
    text = (ROOT / "SECURITY.md").read_text().partition(f"\n### {section}\n")[2]
    items = re.split(r"\n#", text)[0].split("\n- ")[1:]
    return [" ".join(item.partition("\n\n")[0].split()) for item in items]


@pytest.mark.parametrize("section", BORNE)
def test_every_sentence_has_tests(section):
    said = sentences(section)
    for start in BORNE[section]:
        assert [one for one in said if one.startswith(start)], f"{start} … is not said any more"
    untested = [one for one in said if not one.startswith(tuple(BORNE[section]))]
    assert said and not untested


def test_the_tests_exist():
    for section in BORNE.values():
        for tests in section.values():
            for file, names in tests.items():
                tree = ast.parse((ROOT / "tests" / file).read_text())
                there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
                assert set(names) <= there, f"{file} has no {set(names) - there}"
