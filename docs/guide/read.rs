use simrecorder::Recorder;
use simrecorder::ndarray::s;

fn main() -> simrecorder::Result<()> {
    let recorder = Recorder::new(simrecorder::open("rod.mdb")?); // read only
    let u = recorder.get_all("profile/u")?; // a view: nothing is read yet
    assert_eq!(u.shape(), [10, 51]);
    let last = u.select(s![-1, ..])?.read::<f64>()?; // by index
    let left = u.select_by("time", 2.0..5.0)?.select_by("x", ..0.5)?; // by coordinate
    assert_eq!((last.len(), left.shape()), (51, &[3, 25][..]));

    let middle = recorder.get_all("rod/middle")?;
    let at_five = middle.get(middle.nearest("time", 5.0)?)?;
    println!("{:.3}", at_five.scalar::<f64>()?);
    for record in u.iter() {
        let _profile = record?.array::<f64>()?; // one record at a time in memory
    }

    let scheme = recorder.require_as::<String>("meta/scheme")?;
    let log = recorder.get_all("log")?.read_text()?;
    println!("{scheme}, {}", log.join(", "));
    Ok(())
}
