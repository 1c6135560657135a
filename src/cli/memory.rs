//! Memory of this machine, or of the control group that the process runs in (cgroups(7)).
//!
//! A container has a limit of its own, and the kernel kills a container that exceeds it, whatever
//! the machine has. Each group above it may have a smaller limit: the smallest one counts.

use std::fs;
use std::path::{Path, PathBuf};

/// Without a limit, version 1 reports the largest possible number of pages. A number above this
/// one, an exbibyte, counts as no limit.
const LIMIT_BYTES_MAX: u64 = 1 << 60;

/// The memory that this process can use, in bytes; `None` if unknown.
pub(super) fn bytes() -> Option<u64> {
    bytes_by(&|path| fs::read_to_string(path).ok())
}

/// [`bytes`], with `read` in place of the file system.
fn bytes_by(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    machine.into_iter().chain(limits_of_groups(read)).min()
}

/// `MemTotal:       16316412 kB`, see proc_meminfo(5).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of this process's group and of the groups above it, as far as they are mounted.
fn limits_of_groups(read: &dyn Fn(&Path) -> Option<String>) -> Vec<u64> {
    let cgroups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in cgroups.lines() {
        // 0::/path in version 2, 4:memory:/path in version 1.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (kind, file) = match controllers {
            "" => ("cgroup2", "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("cgroup", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for (mount, folder) in mounts.lines().filter_map(|line| folder(line, kind, path)) {
            let inside = folder.ancestors().take_while(|it| it.starts_with(&mount));
            limits.extend(inside.filter_map(|folder| limit(&read(&folder.join(file))?)));
        }
    }
    limits
}

/// The folder in which a mount of this kind shows the group `path`, behind its mount point. A line
/// of mountinfo is `36 35 0:26 ROOT POINT OPTIONS … - KIND SOURCE OPTIONS`.
fn folder(mount: &str, kind: &str, path: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, what) = mount.split_once(" - ")?;
    let mut what = what.split(' ');
    let is_kind = what.next() == Some(kind);
    let has_memory = kind == "cgroup2" || what.nth(1)?.split(',').any(|it| it == "memory");
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, PathBuf::from(place.next()?));
    // A container often sees its own group as the root of the mount.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let folder = point.join(below);
    (is_kind && has_memory).then_some((point, folder))
}

/// A number, or the word `max`.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < LIMIT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) =
        ("/proc/meminfo", "MemTotal:       16316412 kB\nMemFree:         1 kB\n");
    const MACHINE: u64 = 16_316_412 * 1024;

    #[track_caller]
    fn finds(files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(bytes_by(&read), expected, "{files:?}");
    }

    const V2: &[(&str, &str)] = &[
        MEMINFO,
        ("/proc/self/cgroup", "0::/system.slice/closecall.service\n"),
        (
            "/proc/self/mountinfo",
            "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
             34 25 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        ),
    ];

    #[test]
    fn without_a_control_group_it_is_what_the_machine_has() {
        finds(&[], None);
        finds(&[("/proc/meminfo", "MemFree: 1 kB\n")], None);
        finds(&[MEMINFO], Some(MACHINE));
        finds(V2, Some(MACHINE));
    }

    #[test]
    fn the_smallest_limit_of_version_2_counts() {
        let own = "/sys/fs/cgroup/system.slice/closecall.service/memory.max";
        let slice = "/sys/fs/cgroup/system.slice/memory.max";
        finds(&[V2, &[(own, "1073741824\n")]].concat(), Some(1 << 30));
        finds(&[V2, &[(own, "max\n"), (slice, "536870912\n")]].concat(), Some(512 << 20));
        finds(&[V2, &[(own, "max\n"), (slice, "max\n")]].concat(), Some(MACHINE));
        finds(&[V2, &[(own, "99999999999999\n")]].concat(), Some(MACHINE));
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_has_the_limit_there() {
        let files = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", "34 25 0:29 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("/sys/fs/cgroup/memory.max", "268435456\n"),
        ];
        finds(&files, Some(256 << 20));
    }

    #[test]
    fn version_1_has_a_mount_for_its_memory() {
        let files = [
            MEMINFO,
            ("/proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/docker/abc\n"),
            (
                "/proc/self/mountinfo",
                "40 30 0:31 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n\
                 41 30 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
        ];
        let limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        finds(&[&files[..], &[(limit, "134217728\n")]].concat(), Some(128 << 20));
        finds(&[&files[..], &[(limit, "9223372036854771712\n")]].concat(), Some(MACHINE));
        finds(&[&files[1..], &[(limit, "9223372036854771712\n")]].concat(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some() {
        assert!(bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
