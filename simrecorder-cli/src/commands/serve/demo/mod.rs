//! `simrec serve --demo`: a small simulation with data for each kind of panel.

mod neurons;
mod noise;
mod reaction;

use std::f64::consts::TAU;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use simrecorder::ndarray::{Array1, Array3};
use simrecorder::{
    Coordinate, DataStore, Error, ErrorKind, Labeled, Object, Ragged, Recorder, Schema, Timeline,
};
use tempfile::TempDir;

use self::neurons::Neurons;
use self::reaction::Reaction;

/// The number of steps that are recorded before the page is shown.
const STEPS_BEFORE: u64 = 2000;
/// The number of steps after which the simulation ends, about half an hour.
const STEPS: u64 = 36_000;
const STEP: Duration = Duration::from_millis(50);
const STEP_MS: f64 = 1.0;
/// The number of steps between two images.
const STEPS_PER_IMAGE: u64 = 20;
/// The length of each side of the density.
const SIDE: usize = 16;

/// A running simulation, and the folder of its recording, which is removed at the end.
#[derive(Debug)]
pub(super) struct Demo {
    pub(super) store: Arc<dyn DataStore>,
    _folder: TempDir,
}

struct Simulation {
    recorder: Recorder,
    network: Timeline<f64>,
    images: Timeline<f64>,
    neurons: Neurons,
    reaction: Reaction,
    was_active: bool,
}

impl Demo {
    /// Records the beginning, and continues on a thread.
    pub(super) fn start() -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|error| {
            let message =
                "no temporary folder can be made; set TMPDIR to one that can be written to";
            Error::new(ErrorKind::Io, "serve --demo", message).with_source(error)
        })?;
        let store = simrecorder::create(folder.path().join("demo.mdb"))?;
        let mut simulation = Simulation::new(Arc::clone(&store))?;
        for step in 0..STEPS_BEFORE {
            simulation.step(step)?;
        }
        simulation.recorder.flush()?;
        thread::spawn(move || {
            // After an error, the page shows everything that was recorded before, and that the
            // simulation has ended.
            let _ = simulation.run();
        });
        Ok(Self {
            store,
            _folder: folder,
        })
    }
}

impl Simulation {
    fn new(store: Arc<dyn DataStore>) -> Result<Self, Error> {
        let recorder = Recorder::new(store);
        recorder.set("meta/seed", noise::SEED)?;
        recorder.set(
            "meta/parameters",
            Object(json!({"neurons": neurons::COUNT, "step_ms": STEP_MS, "model": "leaky integrate-and-fire"})),
        )?;
        recorder.declare(
            "log",
            Schema::text().with_attribute("about", "bursts of the network"),
        )?;
        let mut network = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
        let scalar = Schema::scalar::<f64>;
        network.declare("rate", scalar().with_units("Hz"))?;
        network.declare("drive", scalar().with_units("mV"))?;
        let potentials = Schema::array::<f32>([neurons::COUNT as u64]);
        network.declare(
            "v",
            potentials
                .with_dimension_names(["time", "neuron"])
                .with_units("mV"),
        )?;
        network.declare("spikes", Schema::ragged::<u16>([]))?;
        let mut images = recorder.timeline("field", Coordinate::new("time").units("ms"))?;
        let side = reaction::SIDE as u64;
        let image = Schema::array::<f32>([side, side]);
        images.declare(
            "concentration",
            image
                .with_dimension_names(["time", "y", "x"])
                .with_units("mol/l"),
        )?;
        let side = SIDE as u64;
        let density = Schema::array::<f32>([side, side, side]);
        images.declare(
            "density",
            density.with_dimension_names(["time", "k", "j", "i"]),
        )?;
        images.declare("mass", scalar().with_units("mol"))?;
        let place = Array1::linspace(0.0, 1.0, reaction::SIDE);
        recorder.set("field/x", Labeled::new(&place, ["x"]).units("mm"))?;
        Ok(Self {
            recorder,
            network,
            images,
            neurons: Neurons::new(),
            reaction: Reaction::new(),
            was_active: false,
        })
    }

    fn run(mut self) -> Result<(), Error> {
        for step in STEPS_BEFORE..STEPS {
            thread::sleep(STEP);
            self.step(step)?;
            if step % 4 == 0 {
                self.recorder.flush()?;
            }
        }
        self.recorder.record("log", "the simulation ended")?;
        self.recorder.close()
    }

    fn step(&mut self, step: u64) -> Result<(), Error> {
        let time = step as f64 * STEP_MS;
        let drive = 21.0 + 6.0 * (time / 400.0 * TAU).sin();
        let spikes = self.neurons.step(drive, STEP_MS);
        let rate = spikes.len() as f64 / neurons::COUNT as f64 / (STEP_MS / 1000.0);
        self.network.advance(time)?;
        self.network.record("rate", rate)?;
        self.network.record("drive", drive)?;
        self.network.record("v", self.neurons.potentials())?;
        self.network.record("spikes", Ragged(&spikes))?;
        let is_active = drive > 24.0;
        if is_active != self.was_active {
            let state = if is_active { "begins" } else { "ends" };
            self.recorder
                .record("log", format!("t = {time} ms: a burst {state}"))?;
            self.was_active = is_active;
        }
        if step.is_multiple_of(STEPS_PER_IMAGE) {
            self.reaction.step();
            self.images.advance(time)?;
            self.images
                .record("concentration", self.reaction.concentration())?;
            self.images.record("density", density(time))?;
            self.images.record("mass", self.reaction.mass())?;
        }
        Ok(())
    }
}

/// A cloud that moves in a circle.
fn density(time: f64) -> Array3<f32> {
    let middle = SIDE as f64 / 2.0;
    let angle = time / 2000.0 * TAU;
    let (x, y, z) = (
        middle + 4.0 * angle.cos(),
        middle + 4.0 * angle.sin(),
        middle + 3.0 * (2.0 * angle).sin(),
    );
    Array3::from_shape_fn((SIDE, SIDE, SIDE), |(k, j, i)| {
        let squares =
            [(i, x), (j, y), (k, z)].map(|(index, centre)| (index as f64 - centre).powi(2));
        (-squares.iter().sum::<f64>() / 12.0).exp() as f32
    })
}
