//! The rate and the irregularity of the spikes: measured in a run, and predicted by the mean-field theory of the paper.

use std::f64::consts::PI;

use serde::Serialize;

use crate::network::Parameters;

/// The activity of a network in a stationary state.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Activity {
    /// Mean rate of a neuron in spikes per second.
    pub rate_hz: f64,
    /// Coefficient of variation of the intervals between the spikes of a neuron: 0 for a clock,
    /// 1 for a Poisson process.
    pub interval_cv: f64,
}

impl Activity {
    /// Measures the activity from the ids of the neurons that spiked, one row per time step,
    /// leaving out the steps before `warm_up_ms`.
    ///
    /// The coefficient of variation is the mean over the neurons with at least three spikes, and
    /// NaN if there is none.
    ///
    /// # Panics
    ///
    /// If an id is not that of a neuron of the network.
    pub fn measure(
        rows: impl IntoIterator<Item = impl AsRef<[u32]>>,
        parameters: &Parameters,
        warm_up_ms: f64,
    ) -> Self {
        let warm_up = (warm_up_ms / parameters.time_step_ms).round() as usize;
        let mut neurons = vec![Intervals::default(); parameters.neurons()];
        let (mut steps, mut spikes) = (0_usize, 0_usize);
        for row in rows.into_iter().skip(warm_up) {
            for &id in row.as_ref() {
                neurons[id as usize].add_spike(steps);
            }
            steps += 1;
            spikes += row.as_ref().len();
        }
        let seconds = steps as f64 * parameters.time_step_ms / 1000.0;
        let cvs: Vec<f64> = neurons.iter().filter_map(Intervals::cv).collect();
        Self {
            rate_hz: spikes as f64 / (neurons.len() as f64 * seconds),
            interval_cv: cvs.iter().sum::<f64>() / cvs.len() as f64,
        }
    }

    /// Predicts the activity from the parameters alone.
    ///
    /// The theory replaces the input of a neuron with white noise of the same mean and variance.
    /// Both depend on the rate of the network, and the rate depends on both: the prediction is the rate
    /// that is consistent with itself. With strong excitation there may be several such rates, and this finds one of
    /// them.
    ///
    /// White noise represents senders that spike like Poisson processes. The neurons of the network, which cause most
    /// of the noise, are more regular, so the noise has less power at low frequencies than the theory assumes. This
    /// hardly changes the rate, but makes the neurons more regular: in the asynchronous irregular state of
    /// [`Parameters::brunel_2000`] the measured coefficient of variation is 0.41, well below the predicted 0.68. See
    /// Dummer, Wieland and Lindner, "Self-consistent determination of the spike-train power
    /// spectrum in a neural network with sparse connectivity", Front. Comput. Neurosci. 8, 104
    /// (2014), <https://doi.org/10.3389/fncom.2014.00104>.
    pub fn predict(parameters: &Parameters) -> Self {
        let mut low = 0.0;
        let mut high = 1.0 / parameters.refractory_period_ms;
        // Bisection: halves the interval until it reaches the precision of a number.
        for _ in 0..f64::MANTISSA_DIGITS {
            let rate = f64::midpoint(low, high);
            if Diffusion::new(parameters, rate).rate_per_ms() > rate {
                low = rate;
            } else {
                high = rate;
            }
        }
        Self {
            rate_hz: low * 1000.0,
            interval_cv: Diffusion::new(parameters, low).interval_cv(),
        }
    }
}

/// The intervals between the spikes of one neuron, in time steps.
#[derive(Clone, Default)]
struct Intervals {
    last_spike: Option<usize>,
    count: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Intervals {
    fn add_spike(&mut self, step: usize) {
        if let Some(last) = self.last_spike.replace(step) {
            let interval = (step - last) as f64;
            self.count += 1.0;
            self.sum += interval;
            self.sum_of_squares += interval * interval;
        }
    }

    fn cv(&self) -> Option<f64> {
        // The sums of integers are exact, so the difference loses no precision.
        let mean = self.sum / self.count;
        let squares = self.sum_of_squares - self.sum * mean;
        (self.count > 1.0).then(|| (squares / (self.count - 1.0)).sqrt() / mean)
    }
}

/// A neuron whose input is white noise: in the absence of a threshold the mean of its potential
/// would be `mu` and the variance `sigma^2 / 2`. Times are in ms.
struct Diffusion {
    time_constant: f64,
    refractory_period: f64,
    /// `(V_r - mu) / sigma`
    reset: f64,
    /// `(theta - mu) / sigma`
    threshold: f64,
}

impl Diffusion {
    /// A neuron in a network in which every neuron spikes at `rate_per_ms`.
    fn new(parameters: &Parameters, rate_per_ms: f64) -> Self {
        let weight = parameters.excitatory_weight_mv;
        let g = parameters.relative_inhibition;
        let excitatory = parameters.external_rate_per_ms()
            + parameters.excitatory_synapses() as f64 * rate_per_ms;
        let inhibitory = parameters.inhibitory_synapses() as f64 * rate_per_ms;
        let tau = parameters.membrane_time_constant_ms;
        let mu = tau * weight * (excitatory - g * inhibitory);
        let sigma = weight * (tau * (excitatory + g * g * inhibitory)).sqrt();
        Self {
            time_constant: tau,
            refractory_period: parameters.refractory_period_ms,
            reset: (parameters.reset_mv - mu) / sigma,
            threshold: (parameters.threshold_mv - mu) / sigma,
        }
    }

    /// The rate of the neuron:
    /// `1 / rate = tau_rp + tau sqrt(pi) int_reset^threshold exp(u^2) (1 + erf u) du`.
    fn rate_per_ms(&self) -> f64 {
        let integral = integrate(self.reset, self.threshold, |u| erfcx(-u));
        1.0 / (self.refractory_period + self.time_constant * PI.sqrt() * integral)
    }

    /// The coefficient of variation of its intervals; appendix A.1 of the paper: `cv^2 = 2 pi
    /// (rate tau)^2 int_reset^threshold exp(x^2) int_-inf^x exp(y^2) (1 + erf y)^2 dy dx`.
    fn interval_cv(&self) -> f64 {
        let integral = integrate(self.reset, self.threshold, |x| {
            // With y = x - s, the factors that underflow and overflow cancel.
            let inner = |s: f64| (2.0 * x * s - s * s).exp() * erfcx(s - x).powi(2);
            // Where s^2 - 2 x s = 40, the rest is below the precision of a number.
            integrate(0.0, 40.0 / ((x * x + 40.0).sqrt() - x), inner)
        });
        (2.0 * PI * integral).sqrt() * self.rate_per_ms() * self.time_constant
    }
}

/// Integrates a smooth function with Simpson's rule.
fn integrate(from: f64, to: f64, function: impl Fn(f64) -> f64) -> f64 {
    const INTERVALS: u32 = 200;
    let width = (to - from) / f64::from(INTERVALS);
    let inner: f64 = (1..INTERVALS)
        .map(|i| f64::from(2 + 2 * (i % 2)) * function(from + f64::from(i) * width))
        .sum();
    (function(from) + inner + function(to)) * width / 3.0
}

/// The scaled complementary error function `exp(x^2) erfc(x)`, which stays finite where
/// `exp(x^2)` overflows and `erfc(x)` vanishes.
fn erfcx(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 2.0 {
        // exp(x^2) erf(x) = 2 / sqrt(pi) sum_n 2^n x^(2n + 1) / (2n + 1)!!
        let mut term = x;
        let mut sum = x;
        for n in 1..50 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return (x * x).exp() - 2.0 / PI.sqrt() * sum;
    }
    // The continued fraction 1 / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / (x + ...
    let fraction = (1..100)
        .rev()
        .fold(magnitude, |rest, n| magnitude + 0.5 * f64::from(n) / rest);
    let positive = 1.0 / (PI.sqrt() * fraction);
    if x > 0.0 {
        positive
    } else {
        2.0 * (x * x).exp() - positive
    }
}
