use simrecorder::{Coordinate, Labeled, Recorder, Schema};

fn main() -> simrecorder::Result<()> {
    let recorder = Recorder::new(simrecorder::create("rod.mdb")?);
    recorder.set("meta/diffusivity", 0.2)?;
    recorder.set("meta/scheme", "explicit Euler")?;
    recorder.record("log", "started")?;

    let mut rod = recorder.timeline("rod", Coordinate::new("time").units("s"))?;
    rod.declare("middle", Schema::scalar::<f64>().with_units("K"))?;
    let mut profile = recorder.timeline("profile", Coordinate::new("time").units("s"))?;
    let temperature = Schema::array::<f64>([51]).with_dimension_names(["time", "x"]);
    profile.declare("u", temperature.with_units("K"))?;
    let x: Vec<f64> = (0..51).map(|i| f64::from(i) / 50.0).collect();
    recorder.set("profile/x", Labeled::new(&x, ["x"]).units("m"))?;

    let mut u: Vec<f64> = (0..51).map(|i| f64::from((20..=30).contains(&i))).collect();
    for step in 0..1000 {
        let time = 0.01 * f64::from(step);
        rod.advance(time)?; // ends a tick and begins the next
        rod.record("middle", u[25])?;
        if step % 100 == 0 {
            profile.advance(time)?;
            profile.record("u", &u)?;
        }
        for (i, around) in u.clone().windows(3).enumerate() {
            u[i + 1] += 0.2 * (around[0] - 2.0 * around[1] + around[2]);
        }
    }
    recorder.record("log", "finished")?;
    recorder.close()
}
