//! Which namespaces the user asked for.

use std::path::PathBuf;

/// What `--netns` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Empty: the current namespace and every named one.
    pub(super) selectors: Vec<Selector>,
    /// Nobody asked for it: what may not be entered is left out, and that is said.
    pub(super) is_default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// Under `/run/netns`, or `host` for that of process 1, unless one is called that.
    Name(String),
    /// Any file that is a namespace: `/proc/PID/ns/net`.
    Path(PathBuf),
    /// The current one, every named one and that of every process.
    All,
}

impl Scope {
    /// From the values of `--netns`, each a name, a path (it has a `/`) or `all`; none is the
    /// default scope. Whether they exist is seen when they are opened.
    pub fn from_options<S: AsRef<str>>(options: &[S]) -> Self {
        let selector = |option: &S| match option.as_ref() {
            "all" => Selector::All,
            path if path.contains('/') => Selector::Path(path.into()),
            name => Selector::Name(name.to_owned()),
        };
        let selectors: Vec<_> = options.iter().map(selector).collect();
        Self { is_default: selectors.is_empty(), selectors }
    }

    /// Every namespace, as far as this process may enter them.
    pub fn whole_node() -> Self {
        Self { selectors: vec![Selector::All], is_default: true }
    }

    /// Whether it says of every namespace that it is wanted, and not of the default's alone.
    pub(super) fn demands_all(&self) -> bool {
        !self.is_default && self.has_nameless()
    }

    /// Whether namespaces without a name belong to it, which only a walk over all processes finds.
    pub(super) fn has_nameless(&self) -> bool {
        self.selectors.contains(&Selector::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_path() {
        let scope = Scope::from_options(&["all", "router", "/proc/1/ns/net", "./x"]);
        let path = |p: &str| Selector::Path(p.into());
        assert_eq!(
            scope.selectors,
            [
                Selector::All,
                Selector::Name("router".to_owned()),
                path("/proc/1/ns/net"),
                path("./x")
            ]
        );
        assert!(scope.has_nameless() && !Scope::default().has_nameless());
        assert!(scope.demands_all() && !Scope::whole_node().demands_all());
    }
}
