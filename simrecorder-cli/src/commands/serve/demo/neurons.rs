//! A ring of leaky integrate-and-fire neurons, which excite their neighbours.

use super::noise::Noise;

pub(super) const COUNT: usize = 96;

const TIME_CONSTANT_MS: f64 = 20.0;
const THRESHOLD_MV: f64 = 20.0;
const RESET_MV: f64 = 10.0;
const REFRACTORY_MS: f64 = 3.0;
/// How much a spike raises the potential of the neighbours.
const WEIGHT_MV: f64 = 1.5;
/// The number of neighbours that it reaches on each side.
const NEIGHBOURS: usize = 3;
const NOISE_MV: f64 = 0.9;

#[derive(Debug)]
pub(super) struct Neurons {
    potentials: Vec<f64>,
    silent_ms: Vec<f64>,
    /// The input of each neuron in the next step.
    received: Vec<f64>,
    noise: Noise,
}

impl Neurons {
    pub(super) fn new() -> Self {
        let mut noise = Noise::new();
        Self {
            potentials: (0..COUNT).map(|_| noise.uniform() * THRESHOLD_MV).collect(),
            silent_ms: vec![0.0; COUNT],
            received: vec![0.0; COUNT],
            noise,
        }
    }

    /// Makes a step, and returns the neurons that spike in it.
    pub(super) fn step(&mut self, drive: f64, step_ms: f64) -> Vec<u16> {
        let received = std::mem::replace(&mut self.received, vec![0.0; COUNT]);
        let mut spikes = Vec::new();
        for (neuron, received) in received.into_iter().enumerate() {
            if self.silent_ms[neuron] > 0.0 {
                self.silent_ms[neuron] -= step_ms;
                continue;
            }
            let potential = &mut self.potentials[neuron];
            *potential += (drive - *potential) * step_ms / TIME_CONSTANT_MS;
            *potential += received + NOISE_MV * self.noise.normal();
            if *potential >= THRESHOLD_MV {
                *potential = RESET_MV;
                self.silent_ms[neuron] = REFRACTORY_MS;
                spikes.push(neuron as u16);
                for distance in 1..=NEIGHBOURS {
                    self.received[(neuron + distance) % COUNT] += WEIGHT_MV;
                    self.received[(neuron + COUNT - distance) % COUNT] += WEIGHT_MV;
                }
            }
        }
        spikes
    }

    pub(super) fn potentials(&self) -> Vec<f32> {
        self.potentials
            .iter()
            .map(|&potential| potential as f32)
            .collect()
    }
}
