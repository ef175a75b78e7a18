//! Records a simulation of a neural network into Zarr over LMDB, reads the recording, and compares it with theory.
//!
//! The simulation is the sparse random network of Brunel (2000) in its asynchronous irregular
//! state, with the parameters and the size of the paper: 12 500 neurons, 15.6 million synapses.
//!
//! ```text
//! cargo run --release --example quickstart --features zarr [-- PATH [SECONDS]]
//! ```
#![allow(clippy::print_stdout)]

pub mod activity;
pub mod network;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use simrecorder::ndarray::s;
use simrecorder::{OpenMode, Recorder, Result, Schema, ZarrDataStore, prelude::*};

use activity::Activity;
use network::{Network, Parameters};

/// How long the network runs, in simulated seconds.
const SECONDS: f64 = 12.0;
/// The beginning of the run, which the rates leave out.
const WARM_UP_MS: f64 = 200.0;
/// The neurons whose incoming weights are recorded.
const RECEIVERS: usize = 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().map_or_else(
        || std::env::temp_dir().join("simrecorder-quickstart.mdb"),
        PathBuf::from,
    );
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let seed = 42_u64;

    let parameters = Parameters::brunel_2000();
    println!(
        "Brunel (2000): {} neurons with {} synapses each, {seconds} s, into {}",
        parameters.neurons(),
        parameters.excitatory_synapses() + parameters.inhibitory_synapses(),
        path.display()
    );
    simulate(&path, &parameters, seed, seconds)?;
    analyse(&path)
}

/// Simulates the network and records it.
fn simulate(path: &Path, parameters: &Parameters, seed: u64, seconds: f64) -> Result<()> {
    let store = ZarrDataStore::options()
        .mode(OpenMode::Truncate)
        .open(path)?;
    let recorder = Recorder::new(store);
    recorder.set("meta/seed", seed)?;
    recorder.set("meta/parameters", Object(parameters))?;
    recorder.declare(
        "net/v",
        Schema::array::<f32>([parameters.neurons() as u64])
            .with_dimension_names(["time", "neuron"])
            .with_units("mV")
            .with_attribute("sampling_interval_ms", 1.0),
    )?;
    recorder.declare("net/rate", Schema::scalar::<f64>().with_units("Hz"))?;
    recorder.declare(
        "net/weights",
        Schema::array::<f32>([RECEIVERS as u64, parameters.neurons() as u64])
            .with_dimension_names(["snapshot", "receiver", "sender"])
            .with_units("mV"),
    )?;
    let rate = recorder.series::<f64>("net/rate")?;

    let mut network = Network::new(parameters.clone(), seed);
    let steps = (seconds * 1000.0 / parameters.time_step_ms).round() as usize;
    let steps_per_ms = (1.0 / parameters.time_step_ms).round() as usize;
    let neuron_seconds = parameters.neurons() as f64 * parameters.time_step_ms / 1000.0;
    let mut recording = Duration::ZERO;
    let start = Instant::now();
    for step in 0..steps {
        network.step();

        let before = Instant::now();
        recorder.record("net/spikes", Ragged(network.spikes()))?;
        rate.record(network.spikes().len() as f64 / neuron_seconds)?;
        if step % steps_per_ms == 0 {
            recorder.record("net/v", network.potentials())?;
        }
        if step % (1000 * steps_per_ms) == 0 {
            let (shape, weights) = network.weights(RECEIVERS);
            recorder.record("net/weights", (shape, weights.as_slice()))?;
        }
        recording += before.elapsed();
    }
    let before = Instant::now();
    recorder.close()?;
    let closing = before.elapsed();
    let total = start.elapsed();

    let records = recorder.status().record_count;
    let disk = size_on_disk(path);
    println!("\nrecording");
    println!("  run                    {:8.2} s", total.as_secs_f64());
    println!(
        "  in record()            {:8.3} s for {records} records, {:.2} us each",
        recording.as_secs_f64(),
        recording.as_secs_f64() * 1e6 / records as f64
    );
    println!("  in close()             {:8.3} s", closing.as_secs_f64());
    println!(
        "  share of the run       {:8.2} %",
        (recording + closing).as_secs_f64() / total.as_secs_f64() * 100.0
    );
    println!("  size on disk           {:8.1} MB", disk as f64 / 1e6);
    Ok(())
}

/// Opens the recording, reads slices of it, and compares them with the predictions of the paper.
fn analyse(path: &Path) -> Result<()> {
    let recorder = Recorder::new(ZarrDataStore::open(path)?);
    let stored: serde_json::Value = match recorder.get("meta/parameters")? {
        Some(value) => value.object()?,
        None => serde_json::Value::Null,
    };
    println!(
        "\nrecorded, seed {:?}",
        recorder.get_as::<u64>("meta/seed")?
    );
    println!(
        "  g = {}, tau = {} ms",
        stored["relative_inhibition"], stored["membrane_time_constant_ms"]
    );
    for key in recorder.keys()? {
        match recorder.get_all(&key) {
            Ok(view) => println!("  {key:<16} {} {:?}", view.kind(), view.shape()),
            Err(_) => println!("  {key:<16} value"),
        }
    }

    let parameters = Parameters::brunel_2000();
    let rows = recorder.get_all("net/spikes")?.read_ragged::<u32>()?;
    let rows = rows
        .rows()
        .map(|row| row.iter().copied().collect::<Vec<u32>>());
    let measured = Activity::measure(rows, &parameters, WARM_UP_MS);
    let predicted = Activity::predict(&parameters);
    let rate = recorder.get_all("net/rate")?;
    let warm_up = (WARM_UP_MS / parameters.time_step_ms) as usize;
    let population = rate
        .select(s![warm_up..])?
        .read::<f64>()?
        .mean()
        .unwrap_or(f64::NAN);

    let v = recorder.get_all("net/v")?;
    let before = Instant::now();
    let one_neuron = v.select(s![.., 17])?.read::<f32>()?;
    let reading = before.elapsed();
    let highest = one_neuron.iter().copied().fold(f32::MIN, f32::max);

    println!("\n                                     recorded   mean-field theory");
    println!(
        "  rate of a neuron (Hz)              {:8.2}   {:8.2}",
        measured.rate_hz, predicted.rate_hz
    );
    println!("  the same from net/rate             {population:8.2}");
    println!(
        "  irregularity (CV of intervals)     {:8.2}   {:8.2}",
        measured.interval_cv, predicted.interval_cv
    );
    println!(
        "  highest potential of neuron 17     {highest:8.2}   {:8.2} (threshold, mV)",
        parameters.threshold_mv
    );
    println!(
        "  its {} potentials, out of {:.0} MB, were read in {:.0} ms",
        one_neuron.len(),
        v.shape().iter().product::<u64>() as f64 * 4e-6,
        reading.as_secs_f64() * 1e3
    );
    println!(
        "\nThe theory takes the senders for Poisson processes. They are more regular than that,\n\
         which leaves the rate as predicted but makes the network more regular in turn\n\
         (Dummer, Wieland and Lindner 2014)."
    );
    Ok(())
}

fn size_on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
