fn main() -> anyhow::Result<()> {
    use lasthop::capture::*;
    env_logger::init();
    let k = lasthop::kernel::btf::KernelBtf::open()?;
    println!("{:?}", lasthop::kernel::layout::layout(&k));
    let t = std::time::Instant::now();
    let mut l = load::load(&k, &tracer_common::flow::Filter::ANY, 1 << 20)?;
    println!("loaded {:?}", t.elapsed());
    for a in probes::attach_all(&mut l) { println!("{a:?} {:?}", t.elapsed()); }
    for n in ["tc_ingress", "tc_egress", "tc_ingress_l3"] {
        let p: &mut aya::programs::SchedClassifier = l.ebpf.program_mut(n).unwrap().try_into()?;
        println!("{n} {:?}", p.load().map_err(|e| load::chain(&e)));
    }
    Ok(())
}
