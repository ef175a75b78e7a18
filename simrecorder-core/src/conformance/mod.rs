//! The test suite that every backend runs.
//!
//! Implement [`Harness`] for a backend and call [`conformance_tests!`](crate::conformance_tests)
//! in one of its test files: every case becomes a separate `#[test]` with its own recording. If a test fails, the
//! backend does not keep a promise of [`DataStore`], [`ArrayView`](crate::ArrayView) or
//! [`Recorder`](crate::Recorder).
//!
//! No case is skipped. If backends may differ, the harness tells what its backend does, and the cases expect the
//! promised error.
//!
//! The suite is for backends of this project and of others. Every release may add, change or remove cases.
//!
//! ```
//! use std::sync::Arc;
//!
//! use simrecorder_core::conformance::{self, Harness};
//! use simrecorder_core::{DataStore, InMemoryDataStore, OpenMode, Result};
//!
//! #[derive(Debug, Default)]
//! struct Memory(InMemoryDataStore);
//!
//! impl Harness for Memory {
//!     fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
//!         Ok(Arc::new(self.0.open(mode)?))
//!     }
//!
//!     fn another(&self) -> Box<dyn Harness> {
//!         Box::new(Self::default())
//!     }
//!
//!     fn persists(&self) -> bool {
//!         false
//!     }
//!
//!     fn many_writers(&self) -> bool {
//!         true
//!     }
//! }
//!
//! // A `#[test]` for each case.
//! simrecorder_core::conformance_tests!(Memory::default());
//!
//! // Each case can also be called by itself.
//! conformance::scalars_of_every_element_type_keep_every_bit(&Memory::default());
//! ```

// In tests, an unexpected result ends the case with a panic that shows it.
#![allow(clippy::unwrap_used)]

mod attributes;
mod batches;
pub mod child;
mod claims;
mod clashes;
mod commits;
mod comparing;
mod coordinates;
mod copies;
mod copy_patterns;
mod copying;
mod descriptions;
mod fan_out;
mod filled;
mod forks;
mod keys;
mod kinds;
mod lifecycle;
mod listing;
mod lossy;
mod model;
mod nodes;
mod reading;
mod recovering;
mod removal;
mod schemas;
mod slices;
mod snapshots;
mod statistics;
mod support;
mod tails;
mod threads;
mod timeline_errors;
mod timeline_tools;
mod timelines;
mod values;
mod variable;

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Result;

use crate::model::key::Key;

use crate::store::data_store::DataStore;

use crate::store::open_mode::OpenMode;

/// One recording of a backend, for one case of the suite.
///
/// A new harness is for a recording that does not exist yet, such as a new temporary folder or an unused run name.
/// Dropping it should delete the recording.
///
/// The suite makes thousands of recordings and commits, so let the stores commit without syncing the disk if they can
/// ([`Durability::Process`](crate::Durability::Process)).
pub trait Harness: Debug + Send + Sync {
    /// Opens the recording of this harness: always the same one, even while it is open and
    /// after it was closed.
    ///
    /// # Errors
    /// The error of the backend.
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>>;

    /// A harness of the same kind for another recording that does not exist yet.
    fn another(&self) -> Box<dyn Harness>;

    /// Whether a recording exists from its creation on, even without records, and not before.
    ///
    /// If so, opening a missing recording is `NotFound`, and creating one twice is `AlreadyExists`. If not, as for the
    /// in-memory store, an empty recording counts as missing, and opens in any mode.
    fn persists(&self) -> bool {
        true
    }

    /// Whether other processes can open the recording.
    fn reaches_other_processes(&self) -> bool {
        self.persists()
    }

    /// Whether a recording can be opened for writing twice. If not, the second attempt is `Locked`.
    fn many_writers(&self) -> bool {
        false
    }

    /// Whether a recording can be opened read only while another store writes it. If not, that
    /// is `Locked`.
    fn allows_concurrent_readers(&self) -> bool {
        true
    }

    /// The number of bytes up to which the backend supports every key of letters and digits, with any levels. It may refuse
    /// longer keys with `InvalidKey`.
    fn longest_key(&self) -> usize {
        Key::MAX_BYTES
    }
}

/// Makes a `#[test]` for every case of the conformance suite.
///
/// The argument is an expression that makes a new [`Harness`];
/// it is evaluated once in each test. [`conformance`](crate::conformance) has an example.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(,)?) => {
        $crate::__conformance_cases! { tests $harness }
    };
}

/// Passes the list of all cases to `__conformance_expand`. The compiler warns of a case that is missing in this list, as
/// of any function without a caller.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($($then:tt)*) => {
        $crate::__conformance_expand! { $($then)*;
            attributes {
                root_groups_values_and_series_have_attributes,
                setting_attributes_replaces_all_of_them,
                a_value_keeps_its_attributes_when_it_is_overwritten,
                attributes_of_an_object_are_those_of_the_user,
                attributes_of_nothing_make_a_group,
                attributes_may_have_any_name_and_size,
            }
            batches {
                series_that_end_around_the_border_of_a_chunk_are_whole,
                many_commits_of_odd_sizes_give_one_series,
                batches_need_not_end_where_chunks_do,
                a_batch_of_many_chunks_is_taken_whole,
                a_commit_may_hold_batches_of_all_kinds,
                records_larger_than_a_chunk_are_split_and_come_back_whole,
                a_small_memory_bound_loses_nothing,
                vectors_over_many_chunks_are_whole,
                a_typed_handle_records_as_the_recorder_does,
                dropping_the_recorder_writes_what_it_holds,
            }
            claims {
                a_claimed_group_takes_batches_that_start_at_its_end,
                a_claim_changes_nothing_that_is_read,
                a_group_that_was_claimed_is_removed_and_renamed_by_a_later_writer,
                a_claim_follows_its_group,
            }
            clashes {
                a_key_is_one_thing,
                a_store_refuses_a_clash_of_kinds,
                a_record_that_differs_from_the_first_is_refused,
                a_store_refuses_records_that_differ_from_their_series,
                what_cannot_be_recorded_is_refused_and_leaves_nothing,
            }
            commits {
                a_commit_whose_last_change_is_bad_changes_nothing,
                the_root_becomes_no_value_and_no_series,
                a_commit_whose_first_change_is_bad_changes_nothing,
                a_batch_that_starts_at_the_wrong_record_is_refused,
                planning_and_preparing_change_nothing,
                batches_may_be_prepared_long_before_their_commit,
                empty_commits_and_empty_batches_change_nothing,
                declaring_a_series_again_changes_nothing,
                the_changes_of_a_commit_take_effect_in_their_order,
            }
            comparing {
                a_recording_is_the_same_as_its_copy_in_any_store,
                every_difference_is_found_at_its_key,
                timelines_are_compared_at_the_ticks_that_both_have,
                views_are_compared_by_their_indices,
                tolerances_and_patterns_that_are_none_are_refused,
            }
            coordinates {
                a_view_is_read_by_the_coordinates_of_its_axes,
                a_timeline_is_read_by_its_coordinate,
                the_coordinate_of_a_selection_has_the_same_selection,
                a_coordinate_has_the_length_of_its_view,
                a_coordinate_that_does_not_fit_its_view_is_refused,
                what_cannot_be_selected_by_is_refused_with_a_reason,
                a_dimension_without_a_coordinate_is_named,
                coordinates_of_every_real_type_are_searched,
                no_more_of_a_timeline_is_read_than_a_search_needs,
                coordinates_fit_their_views_while_ticks_are_recorded,
            }
            copies {
                a_copy_holds_what_its_original_holds,
                copies_of_random_recordings_are_whole,
                a_copy_is_appended_to_where_its_original_ended,
                a_copy_that_is_encoded_again_holds_the_same,
                a_recording_is_copied_into_one_that_holds_other_keys,
                a_part_of_a_recording_is_copied_alone,
                a_copy_that_clashes_writes_nothing,
                a_copy_into_a_store_that_is_not_written_is_refused,
                an_empty_recording_is_copied,
            }
            copy_patterns {
                a_copy_selects_keys_by_patterns,
                a_copy_with_patterns_that_select_nothing_says_so,
            }
            copying {
                the_progress_of_a_copy_adds_up,
                a_copy_ends_when_it_is_cancelled,
                what_is_recorded_during_a_copy_is_left_out,
                encoded_records_that_do_not_fit_are_refused,
            }
            descriptions {
                declaring_a_series_again_stores_its_attributes_and_names,
                declaring_a_series_again_leaves_what_the_schema_leaves_open,
                declaring_other_records_is_refused_with_both,
                declaring_other_chunks_is_refused_with_both,
                declaring_another_compression_is_refused_with_both,
                declaring_another_fill_value_is_refused_with_both,
                a_declaration_that_one_store_refuses_changes_none,
                descriptions_take_effect_in_their_order_or_not_at_all,
                a_labelled_value_keeps_its_names_and_units,
            }
            fan_out {
                several_stores_get_the_same,
                reading_takes_the_first_store_that_holds_the_key,
                stores_that_differ_in_length_are_cut_only_if_asked,
            }
            filled {
                a_series_begins_with_records_of_its_fill_value,
                a_filled_series_is_appended_to_after_each_reopening,
                a_series_may_hold_nothing_but_filled_records,
                a_hundred_million_filled_records_cost_nothing,
                filled_series_are_cut_and_appended_to,
                filled_series_are_cut_in_the_commit_that_declares_them,
                copies_of_filled_series_keep_their_filled_records,
                filled_series_are_renamed_and_removed,
                filled_records_are_those_of_the_first_declaration,
                only_series_of_arrays_begin_with_filled_records,
                views_of_filled_series_stay_the_same_while_these_grow,
                filled_records_of_a_lossy_series_keep_every_bit,
            }
            forks {
                a_forked_child_reads_a_recording_that_it_opens_itself,
                an_inherited_recorder_is_an_error_at_once,
                inherited_stores_and_views_read_or_are_an_error_at_once,
                a_forked_child_that_ends_disturbs_nothing,
                a_recording_is_not_locked_by_children_of_its_writer,
            }
            keys {
                a_series_of_any_name_is_kept_or_refused,
                a_text_series_of_any_name_is_kept_or_refused,
                a_value_of_any_name_is_kept_or_refused,
                a_group_of_any_name_is_kept_or_refused,
                keys_that_begin_alike_are_kept_apart,
                deep_hierarchies_are_kept,
                keys_up_to_the_promised_length_are_taken,
                spellings_of_a_key_that_differ_in_slashes_are_one_key,
                keys_that_break_a_rule_are_refused,
                a_refused_key_leaves_the_groups_above_it_free,
            }
            kinds {
                scalars_of_every_element_type_keep_every_bit,
                arrays_of_every_element_type_keep_every_bit,
                ragged_rows_of_every_element_type_keep_every_bit,
                values_of_every_element_type_keep_every_bit,
                pointer_sized_integers_are_stored_with_64_bits,
                records_without_elements_are_counted_and_keep_their_shape,
                records_in_any_memory_layout_come_back_in_row_major_order,
                records_with_many_axes_keep_their_shape,
                large_records_come_back,
            }
            lifecycle {
                a_recording_that_is_missing_is_created_only_if_asked,
                an_existing_recording_is_deleted_only_if_asked,
                an_empty_recording_exists_once_it_was_created,
                a_read_only_store_refuses_every_change,
                a_recorder_on_a_read_only_store_refuses_every_change,
                a_closed_store_refuses_changes_and_still_reads,
                a_checkpoint_at_once_is_one_where_no_other_program_is_waited_for,
                a_closed_recorder_refuses_every_call,
                what_was_committed_is_there_without_closing,
                a_second_writer_is_locked_out_or_may_write_too,
                a_reader_sees_what_a_writer_has_flushed,
                many_readers_may_be_open_at_once,
            }
            listing {
                children_and_keys_are_listed_in_order,
                values_series_and_nothing_have_no_children,
                parts_of_series_and_values_do_not_show,
                a_store_answers_for_keys_of_every_kind,
                an_empty_recording_has_a_root_alone,
                the_tree_shows_each_key_in_natural_order,
                the_tree_is_printed_however_deep_it_is,
            }
            lossy {
                lossy_numbers_keep_their_bound_and_never_change_again,
                a_lossy_series_is_appended_to_after_reopening,
            }
            model {
                random_operations_give_what_memory_gives,
                random_operations_in_threads_give_what_memory_gives,
            }
            reading {
                a_region_is_read_into_a_buffer_of_its_size,
                a_region_that_does_not_fit_is_refused,
                records_are_read_in_blocks_of_any_size,
                records_after_the_last_one_are_refused,
                iterating_gives_every_record_in_order,
                reading_as_another_kind_or_type_is_refused,
                casting_converts_as_rust_does,
                arrays_are_read_without_knowing_their_type,
            }
            recovering {
                a_sound_recording_is_recovered_whole,
                a_timeline_that_is_out_of_step_is_recovered_as_plain_series,
            }
            removal {
                what_is_removed_is_gone_with_all_below_it,
                removing_is_ordered_with_what_is_recorded,
                what_is_renamed_moves_with_all_below_it,
                removals_and_renamings_that_are_refused_change_nothing,
                views_of_what_was_removed_show_no_other_records,
                keys_are_removed_while_threads_record_to_them,
            }
            schemas {
                what_was_declared_is_read_back,
                what_was_declared_stays_when_records_come,
                a_declared_series_without_records_reads_as_empty,
                the_first_record_fixes_the_schema,
                fill_values_of_every_element_type_are_read_back,
                compression_keeps_every_bit_that_it_may_not_round,
            }
            slices {
                slices_of_scalars_are_those_of_ndarray,
                slices_of_vectors_are_those_of_ndarray,
                slices_of_matrices_are_those_of_ndarray,
                slices_of_cubes_are_those_of_ndarray,
                indices_and_ranges_select_along_the_records,
                a_step_may_be_longer_than_the_axis,
                a_step_may_be_longer_than_a_chunk,
                selections_outside_the_shape_are_errors,
                selections_carry_names_and_attributes_on,
                slices_of_variable_records_are_those_of_a_list,
            }
            nodes {
                nodes_are_answered_in_the_order_of_their_keys,
                several_keys_are_looked_up_as_of_one_commit,
                a_group_is_read_with_its_series_values_and_coordinates,
            }
            snapshots {
                a_view_stays_the_same_while_its_series_grows,
                a_selection_stays_the_same_while_its_series_grows,
                refreshing_a_view_sees_later_records,
                a_store_shows_each_commit_at_once,
                a_view_of_a_series_that_was_cut_gives_no_wrong_records,
                records_that_were_cut_read_as_they_were_or_are_out_of_bounds,
            }
            statistics {
                statistics_are_those_of_the_elements,
                statistics_count_filled_records,
                envelopes_are_those_of_the_elements,
                a_series_knows_how_many_bytes_it_takes,
                a_store_describes_its_recording,
            }
            tails {
                tails_are_read_before_and_after_they_are_folded,
                appending_continues_across_many_reopenings,
                a_series_is_appended_to_after_reopening_as_it_was_declared,
                many_slow_series_next_to_a_fast_one_are_whole,
                series_of_many_tiny_commits_are_whole,
                flush_and_checkpoint_without_records_succeed,
                a_series_is_cut_and_appended_to,
                a_recorder_goes_back_and_continues,
                series_of_all_kinds_are_cut,
                cutting_what_is_no_series_is_an_error,
            }
            threads {
                threads_may_record_to_keys_of_their_own,
                threads_may_record_to_one_key,
                ten_thousand_keys_with_few_records_are_all_there,
                a_view_may_be_read_by_many_threads,
            }
            timeline_errors {
                ticks_out_of_order_are_refused_and_the_tick_before_stays,
                a_tick_with_a_missing_or_second_record_is_refused_and_stays_open,
                a_series_that_joins_late_without_a_fill_value_is_refused,
                series_of_a_timeline_are_recorded_through_its_handle_alone,
                a_group_that_cannot_be_a_timeline_is_refused,
                series_of_a_timeline_are_never_left_out_of_step,
            }
            timeline_tools {
                a_copy_of_a_timeline_has_the_same_ticks_of_every_series,
                a_copied_series_of_a_timeline_brings_its_coordinate,
                a_copy_adds_no_series_to_a_timeline,
                a_timeline_is_copied_while_it_is_written,
                verifying_finds_timelines_that_are_out_of_step,
            }
            timelines {
                the_series_of_a_timeline_have_one_record_per_tick,
                a_tick_that_is_incomplete_is_never_visible,
                a_flush_completes_a_whole_tick,
                a_tick_is_recorded_in_one_call_or_not_at_all,
                a_timeline_continues_after_its_last_tick,
                a_rewound_timeline_has_each_tick_once,
                timelines_with_one_coordinate_are_rewound_together,
                stores_that_differ_are_cut_to_the_same_tick,
                readers_see_whole_ticks_at_any_moment,
                gaps_have_the_fill_value,
                a_late_series_has_the_fill_value_before,
                series_of_one_length_become_a_timeline,
            }
            values {
                a_required_value_that_is_missing_names_the_nearest_keys,
                a_value_is_overwritten_by_one_of_any_type_and_shape,
                a_value_is_overwritten_after_reopening,
                values_of_all_types_share_a_group,
                large_values_come_back,
                a_value_is_read_as_its_own_type_only,
            }
            variable {
                ragged_rows_keep_their_lengths,
                ragged_rows_of_arrays_keep_their_trailing_shape,
                series_of_empty_records_alone_are_counted,
                ragged_rows_whose_items_have_no_elements_are_refused,
                variable_records_larger_than_a_chunk_come_back,
                text_of_any_content_comes_back,
                bytes_of_any_content_come_back,
                objects_come_back_as_they_were,
                many_variable_records_keep_their_order,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_expand {
    (tests $harness:expr; $($topic:ident { $($case:ident,)* })*) => {$($(
        #[test]
        fn $case() {
            $crate::conformance::$case(&$harness);
        }
    )*)*};
    (exports; $($topic:ident { $($case:ident,)* })*) => {$(
        pub use $topic::{$($case,)*};
    )*};
}

__conformance_cases! { exports }
