//! The sparse random network of excitatory and inhibitory spiking neurons of N. Brunel,
//! "Dynamics of sparsely connected networks of excitatory and inhibitory spiking neurons",
//! J. Comput. Neurosci. 8, 183-208 (2000), <https://doi.org/10.1023/A:1008925309027>.
//!
//! Each neuron is a leaky integrator of its input. Its potential `V` follows
//! `tau dV/dt = -V + R I(t)`, where every spike that arrives at a synapse makes `V` jump by the
//! weight of that synapse. When `V` reaches the threshold the neuron emits a spike and stays at
//! the reset potential for a refractory period.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde::Serialize;

/// Parameters of the network; potentials are relative to the resting potential.
#[derive(Clone, Debug, Serialize)]
pub struct Parameters {
    /// Number of excitatory neurons; they have the ids `0..excitatory_neurons`.
    pub excitatory_neurons: usize,
    /// Number of inhibitory neurons; their ids follow those of the excitatory ones.
    pub inhibitory_neurons: usize,
    /// Fraction of each population that a neuron receives input from.
    pub connection_probability: f64,
    /// Membrane time constant in ms.
    pub membrane_time_constant_ms: f64,
    /// Potential in mV at which a neuron spikes.
    pub threshold_mv: f64,
    /// Potential in mV after a spike.
    pub reset_mv: f64,
    /// Time in ms for which a neuron ignores its input after a spike.
    pub refractory_period_ms: f64,
    /// Jump in mV of the potential for each spike from an excitatory neuron or from outside.
    pub excitatory_weight_mv: f64,
    /// Strength of an inhibitory synapse relative to an excitatory one, the paper's `g`.
    pub relative_inhibition: f64,
    /// Time in ms that a spike takes from one neuron to another.
    pub delay_ms: f64,
    /// Rate of the external input relative to the rate that alone drives the mean potential to
    /// the threshold, the paper's `nu_ext / nu_thr`.
    pub relative_external_rate: f64,
    /// Time step in ms.
    pub time_step_ms: f64,
}

impl Parameters {
    /// The network of figure 8C of the paper, in its asynchronous irregular state: the activity
    /// of the whole network only fluctuates around a constant, as far as the number of neurons
    /// averages out their noise, and the single neurons spike irregularly.
    pub fn brunel_2000() -> Self {
        Self {
            excitatory_neurons: 10_000,
            inhibitory_neurons: 2_500,
            connection_probability: 0.1,
            membrane_time_constant_ms: 20.0,
            threshold_mv: 20.0,
            reset_mv: 10.0,
            refractory_period_ms: 2.0,
            excitatory_weight_mv: 0.1,
            relative_inhibition: 5.0,
            delay_ms: 1.5,
            relative_external_rate: 2.0,
            time_step_ms: 0.1,
        }
    }

    /// Number of neurons, excitatory and inhibitory.
    pub fn neurons(&self) -> usize {
        self.excitatory_neurons + self.inhibitory_neurons
    }

    /// Number of excitatory synapses of a neuron within the network, the paper's `C_E`. It has
    /// as many from outside.
    pub fn excitatory_synapses(&self) -> usize {
        (self.connection_probability * self.excitatory_neurons as f64).round() as usize
    }

    /// Number of inhibitory synapses of a neuron, the paper's `C_I`.
    pub fn inhibitory_synapses(&self) -> usize {
        (self.connection_probability * self.inhibitory_neurons as f64).round() as usize
    }

    /// Rate in spikes per ms of all external synapses of a neuron together, `C_E nu_ext`.
    ///
    /// With `nu_thr = theta / (J C_E tau)` the number of synapses cancels.
    pub fn external_rate_per_ms(&self) -> f64 {
        self.relative_external_rate * self.threshold_mv
            / (self.excitatory_weight_mv * self.membrane_time_constant_ms)
    }

    /// The weight in mV of the synapses that a neuron makes.
    fn weight(&self, sender: usize) -> f32 {
        if sender < self.excitatory_neurons {
            self.excitatory_weight_mv as f32
        } else {
            (-self.relative_inhibition * self.excitatory_weight_mv) as f32
        }
    }

    /// Number of time steps in a duration.
    fn steps(&self, duration_ms: f64) -> usize {
        (duration_ms / self.time_step_ms).round() as usize
    }
}

/// A network in the middle of its simulation.
///
/// On one platform the same parameters and seed give the same run. The generator, xoshiro256++,
/// is named rather than left to `StdRng` or `SmallRng`, which may be another one in the next
/// version of `rand` or, the latter, on another platform.
#[derive(Debug)]
pub struct Network {
    parameters: Parameters,
    rng: Xoshiro256PlusPlus,
    external_input: Poisson,
    /// For each neuron the neurons that it projects to, in ascending order.
    targets: Vec<Box<[u32]>>,
    /// The potentials in mV. Single precision resolves them to a few millionths of a millivolt
    /// and halves the recorded data.
    potentials: Vec<f32>,
    /// Number of steps for which a neuron still ignores its input.
    refractory: Vec<u32>,
    /// Sum of the weights of the spikes that arrive at each neuron in this step, in mV.
    arriving: Vec<f32>,
    /// The spikes of the last steps, one row per step of the delay: all synapses have the same
    /// delay, so whole rows wait for their arrival instead of single inputs.
    emitted: Vec<Vec<u32>>,
    /// The row of `emitted` of the last step.
    last: usize,
}

impl Network {
    /// Draws the connections and the initial potentials.
    ///
    /// # Panics
    ///
    /// If a neuron receives 100 or more external spikes per time step on average: the step is far
    /// too long then.
    pub fn new(parameters: Parameters, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let targets = connect(&parameters, &mut rng);
        let neurons = parameters.neurons();
        // Neurons that all start at the same potential would spike in synchrony at first.
        let threshold = parameters.threshold_mv as f32;
        let potentials = (0..neurons)
            .map(|_| threshold * rng.random::<f32>())
            .collect();
        // A spike cannot arrive in the step that emits it.
        let delay = parameters.steps(parameters.delay_ms).max(1);
        Self {
            external_input: Poisson::new(
                parameters.external_rate_per_ms() * parameters.time_step_ms,
            ),
            targets,
            potentials,
            refractory: vec![0; neurons],
            arriving: vec![0.0; neurons],
            emitted: vec![Vec::new(); delay],
            last: 0,
            rng,
            parameters,
        }
    }

    /// Advances the network by one time step.
    pub fn step(&mut self) {
        // The row after the last one is the oldest: it was emitted one delay ago.
        self.last = (self.last + 1) % self.emitted.len();
        self.deliver();
        self.integrate();
    }

    /// The potential of each neuron in mV.
    pub fn potentials(&self) -> &[f32] {
        &self.potentials
    }

    /// The ids of the neurons that spiked in the last step, in ascending order.
    pub fn spikes(&self) -> &[u32] {
        &self.emitted[self.last]
    }

    /// The weights in mV of the synapses onto the first `receivers` neurons, as the shape and the
    /// row-major elements of a matrix with one row per receiving and one column per sending
    /// neuron; zero where there is no synapse.
    ///
    /// The synapses of this model are not plastic: the weights are the same at all times.
    pub fn weights(&self, receivers: usize) -> ([usize; 2], Vec<f32>) {
        let shape = [
            receivers.min(self.parameters.neurons()),
            self.parameters.neurons(),
        ];
        let mut elements = vec![0.0; shape[0] * shape[1]];
        for (sender, targets) in self.targets.iter().enumerate() {
            let receivers = targets.iter().map(|&target| target as usize);
            for receiver in receivers.take_while(|&receiver| receiver < shape[0]) {
                elements[receiver * shape[1] + sender] = self.parameters.weight(sender);
            }
        }
        (shape, elements)
    }

    /// Adds up the input from the spikes that were emitted one delay ago.
    fn deliver(&mut self) {
        for &sender in &self.emitted[self.last] {
            let sender = sender as usize;
            let weight = self.parameters.weight(sender);
            for &target in &self.targets[sender] {
                self.arriving[target as usize] += weight;
            }
        }
    }

    /// Advances all potentials and collects the spikes.
    fn integrate(&mut self) {
        let parameters = &self.parameters;
        let decay = (-parameters.time_step_ms / parameters.membrane_time_constant_ms).exp() as f32;
        let threshold = parameters.threshold_mv as f32;
        let reset = parameters.reset_mv as f32;
        let external_weight = parameters.excitatory_weight_mv as f32;
        let refractory_steps = parameters.steps(parameters.refractory_period_ms) as u32;

        let spikes = &mut self.emitted[self.last];
        spikes.clear();
        let neurons = self
            .potentials
            .iter_mut()
            .zip(&mut self.refractory)
            .zip(&mut self.arriving);
        for (id, ((potential, refractory), arriving)) in (0..).zip(neurons) {
            let from_network = std::mem::take(arriving);
            if *refractory > 0 {
                *refractory -= 1;
                continue;
            }
            let from_outside = external_weight * self.external_input.sample(&mut self.rng) as f32;
            *potential = *potential * decay + from_network + from_outside;
            if *potential >= threshold {
                *potential = reset;
                *refractory = refractory_steps;
                spikes.push(id);
            }
        }
    }
}

/// Draws for each neuron the senders of its input: distinct neurons, not including itself, and
/// exactly as many of each kind as the paper prescribes.
fn connect(parameters: &Parameters, rng: &mut Xoshiro256PlusPlus) -> Vec<Box<[u32]>> {
    let neurons = parameters.neurons() as u32;
    let excitatory = parameters.excitatory_neurons as u32;
    let mut populations = [
        (
            (0..excitatory).collect::<Vec<_>>(),
            parameters.excitatory_synapses(),
        ),
        (
            (excitatory..neurons).collect::<Vec<_>>(),
            parameters.inhibitory_synapses(),
        ),
    ];
    let mut targets = vec![Vec::new(); parameters.neurons()];
    for receiver in 0..neurons {
        for (population, synapses) in &mut populations {
            // One more than needed, in case the receiver itself is among them.
            let (senders, _) = population.partial_shuffle(rng, *synapses + 1);
            let others = senders.iter().filter(|&&sender| sender != receiver);
            for &sender in others.take(*synapses) {
                targets[sender as usize].push(receiver);
            }
        }
    }
    targets.into_iter().map(Vec::into_boxed_slice).collect()
}

/// Draws numbers from a Poisson distribution with a small mean.
///
/// Every neuron needs one in every step: comparing one random integer with a table takes a
/// quarter of the time of the usual method, which multiplies random numbers until they are small.
#[derive(Debug)]
struct Poisson {
    /// The probability of at most `k` events, as a fraction of the range of `u32`.
    cumulative: Vec<u32>,
}

impl Poisson {
    fn new(mean: f64) -> Self {
        assert!(
            mean < 100.0,
            "too much external input for one time step: {mean} spikes"
        );
        let mut probability = (-mean).exp();
        let mut sum = probability;
        let mut cumulative = Vec::new();
        // A cast to an integer saturates, so this ends where 32 bits cannot tell the sum from 1.
        while ((sum * 2f64.powi(32)) as u32) < u32::MAX {
            cumulative.push((sum * 2f64.powi(32)) as u32);
            probability *= mean / cumulative.len() as f64;
            sum += probability;
        }
        Self { cumulative }
    }

    fn sample(&self, rng: &mut impl Rng) -> u32 {
        let uniform = rng.next_u32();
        // No early exit: comparing with the whole table needs no unpredictable branches.
        self.cumulative
            .iter()
            .map(|&limit| u32::from(uniform >= limit))
            .sum()
    }
}
