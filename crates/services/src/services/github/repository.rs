//! Owner and name of a repository, from the many forms of a git URL (the table of services.md 2.5).

use crate::failure::SendError;

const SCHEMES: &[&str] = &["ssh", "git", "git+ssh", "http", "https", "ftp", "ftps", "rsync", "file"];

/// The path of a git URL: with a known scheme, in scp syntax, or a local path.
fn path(url: &str) -> String {
    if let Some((scheme, rest)) = url.split_once("://")
        && SCHEMES.contains(&scheme)
    {
        return rest.split_once('/').map_or_else(String::new, |(_, path)| {
            format!("/{}", path.split(['?', '#']).next().unwrap_or_default())
        });
    }
    // user@host:path, or host:path; a slash before the colon makes it a local path.
    if let Some((host, path)) = url.split_once(':')
        && !host.is_empty()
        && !host.contains('/')
    {
        return path.trim_start_matches('/').to_string();
    }
    url.to_string()
}

/// `owner/name`, as GitHub's paths want it.
pub(super) fn owner_and_name(url: &str) -> Result<String, SendError> {
    let path = path(url);
    let path = path.strip_suffix(".git").unwrap_or(&path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        [owner, name, ..] => Ok(format!("{owner}/{name}")),
        _ if path.contains('/') => Ok(path.to_string()),
        _ => Err(SendError::misconfigured(format!(
            "GitHub.repoURL ({url}) does not have a `/`: set github.repoURLPath in the template, as its default is \
             a variable of Argo CD"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_specification() {
        let table = [
            ("https://github.com/o/r", "o/r"),
            ("git@github.com:o/r.git", "o/r"),
            ("ssh://git@github.com:22/o/r.git", "o/r"),
            ("o/r", "o/r"),
            ("github.com/o/r", "github.com/o"),
            ("https://github.com/o/r/sub/x.git", "o/r"),
            ("https://gitlab.com/g/s/r.git", "g/s"),
            ("git@ssh.dev.azure.com:v3/org/proj/repo", "v3/org"),
            ("oci://registry/o/r", "registry/o"),
            ("https://github.com/o", "/o"),
        ];
        for (url, wanted) in table {
            assert_eq!(owner_and_name(url).unwrap(), wanted, "{url}");
        }
        for url in ["hello", "", "https://charts.example.com", "<no value>"] {
            assert!(owner_and_name(url).unwrap_err().message.contains("does not have a `/`"), "{url}");
        }
    }
}
