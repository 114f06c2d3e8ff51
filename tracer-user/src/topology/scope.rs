//! Which namespaces the user asked for.

use std::path::PathBuf;

/// What `--netns` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Empty: the current namespace and every named one.
    pub(super) selectors: Vec<Selector>,
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
        Self { selectors: options.iter().map(selector).collect() }
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
    }
}
