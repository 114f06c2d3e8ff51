use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::*;

#[test]
fn a_cookie_is_the_beginning_of_a_uuid() {
    assert_eq!(uuid_start("0xcd5edc4b"), Some(0xcd5e_dc4b));
    assert_eq!(uuid_start("0x77"), Some(0x77));
    for cookie in ["0x0", "0x9b52dfee970c9aa7", "", "77"] {
        assert_eq!(uuid_start(cookie), None, "{cookie}");
    }
}

#[test]
fn rows_are_read_as_the_database_writes_them() {
    let row = json!({
        "_uuid": ["uuid", "cd5edc4b-1111-2222-3333-444455556666"],
        "pipeline": "egress", "table_id": 4, "priority": 2001,
        "match": "outport == @pg && ip4", "actions": "drop;",
        "logical_datapath": ["set", [["uuid", "11111111-2222-3333-4444-555555555555"]]],
        "external_ids": ["map", [["source", "northd.c:1"], ["stage-hint", "9a9b9c9d"],
                                 ["stage-name", "ls_out_acl"]]],
    });
    let uuid = "cd5edc4b-1111-2222-3333-444455556666".parse().unwrap();
    let mut row: FlowRow = serde_json::from_value(row).unwrap();
    assert_eq!(row.logical_datapath.first().unwrap().start(), 0x1111_1111);
    let hints = std::mem::take(&mut row.external_ids);
    assert_eq!(hints.value("stage-hint"), Some("9a9b9c9d"));
    row.actions = "x".repeat(100_000);
    let flow = row.logical_flow(uuid, &hints);
    assert_eq!((flow.table, flow.priority, flow.stage.as_deref()), (4, 2001, Some("ls_out_acl")));
    assert_eq!(flow.uuid, "cd5edc4b-1111-2222-3333-444455556666");
    assert!(flow.actions.ends_with("x…") && flow.actions.len() < 10_000);
    let none: FlowRow = serde_json::from_value(json!({"logical_datapath": ["set", []]})).unwrap();
    assert_eq!(none.logical_datapath.first(), None);
}

#[tokio::test(flavor = "current_thread")]
async fn a_remote_is_a_socket_of_root_or_of_who_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = Dir::at(dir.path()).unwrap();
    let path = dir.path().join("ovnsb_db.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let named = SOUTH.server(&root, &format!("unix:{}", path.display()), true).unwrap();
    assert!(named.connect().await.is_ok());
    // Out of a container its paths are those in there.
    let inside = SOUTH.server(&root, "unix:/../ovnsb_db.sock", false).unwrap();
    assert!(inside.connect().await.is_ok());
    assert!(SOUTH.server(&root, &format!("unix:{}", path.display()), false).is_err());
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for name in ["link", "file"] {
        let why = SOUTH.server(&root, &format!("unix:/{name}"), false).unwrap_err();
        assert!(matches!(why, Error::Distrusted(..)), "{why}");
    }
}

#[test]
fn remotes_that_need_keys_are_passed_over() {
    assert_eq!(reachable("ssl:10.0.0.1:6642, tcp:10.0.0.2:6642"), Some("tcp:10.0.0.2:6642".into()));
    assert_eq!(reachable("ssl:10.0.0.1:6642"), None);
}

/// A real database server with OVN's own schema, where the machine has both.
struct Running {
    child: Child,
    server: Server,
    _dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn server(database: &Database, schema: &str) -> Option<Running> {
    let schema = PathBuf::from("/usr/share/ovn").join(schema);
    let dir = tempfile::tempdir().unwrap();
    let (db, socket) = (dir.path().join("db"), dir.path().join("db.sock"));
    let made = Command::new("ovsdb-tool").arg("create").arg(&db).arg(&schema).output();
    if !schema.exists() || !made.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: no ovsdb-tool, or no {}", schema.display());
        return None;
    }
    let mut child = Command::new("ovsdb-server")
        .args(["--no-chdir", "--unixctl=none"])
        .arg(format!("--remote=punix:{}", socket.display()))
        .arg(&db)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (remote, root) = (format!("unix:{}", socket.display()), Dir::at(Path::new("/")).unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < deadline {
        if let Ok(server) = database.server(&root, &remote, true)
            && server.call::<Value>("x", "list_dbs", json!([]), SHORT).await.is_ok()
        {
            return Some(Running { child, server, _dir: dir });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let _ = child.kill().and_then(|()| child.wait());
    panic!("ovsdb-server does not start");
}

/// Runs operations; the UUID of the first one's row.
async fn transact(running: &Running, params: Value) -> Uuid {
    let answer = running.server.call::<Value>("x", "transact", params, SHORT).await.unwrap();
    serde_json::from_value(answer[0]["uuid"].clone()).unwrap_or_else(|_| panic!("{answer}"))
}

async fn insert(database: &Database, running: &Running, table: &str, row: Value) -> Uuid {
    let insert = json!({"op": "insert", "table": table, "row": row});
    transact(running, json!([database.name, insert])).await
}

#[tokio::test(flavor = "current_thread")]
async fn a_cookie_leads_to_the_logical_flow_and_its_acl() {
    let south = server(&SOUTH, "ovn-sb.ovsschema").await;
    let north = server(&NORTH, "ovn-nb.ovsschema").await;
    let (Some(south), Some(north)) = (south, north) else { return };
    let rule = json!({"direction": "to-lport", "priority": 1001, "match": "ip4 && tcp.dst == 80",
                      "action": "drop", "name": "deny-web"});
    // An ACL belongs to a switch, or the database forgets it.
    let params = json!(["OVN_Northbound",
        {"op": "insert", "table": "ACL", "row": rule, "uuid-name": "acl"},
        {"op": "insert", "table": "Logical_Switch",
         "row": {"name": "sw0", "acls": ["named-uuid", "acl"]}}]);
    let acl = transact(&north, params).await;
    let binding = json!({"tunnel_key": 1, "external_ids": ["map", [["name", "sw0"]]]});
    let datapath = insert(&SOUTH, &south, "Datapath_Binding", binding).await;
    let flow = json!({
        "logical_datapath": ["uuid", datapath.to_string()], "pipeline": "egress", "table_id": 4,
        "priority": 2001, "match": "ip4 && tcp.dst == 80", "actions": "drop;",
        "external_ids": ["map", [["stage-name", "ls_out_acl"], ["stage-hint", format!("{:08x}", acl.start())]]],
    });
    let uuid = insert(&SOUTH, &south, "Logical_Flow", flow).await;
    let found = look_up_at(&south.server, Some(&north.server), uuid.start()).await.unwrap();
    let (flow, found_acl) = found.unwrap();
    assert_eq!((flow.uuid, flow.table, flow.priority), (uuid.to_string(), 4, 2001));
    assert_eq!(
        (flow.datapath.as_deref(), flow.stage.as_deref()),
        (Some("sw0"), Some("ls_out_acl"))
    );
    let found_acl = found_acl.unwrap();
    assert_eq!((found_acl.uuid, found_acl.name.as_deref()), (acl.to_string(), Some("deny-web")));
    assert_eq!((found_acl.direction.as_str(), found_acl.action.as_str()), ("to-lport", "drop"));
    assert_eq!(look_up_at(&south.server, None, 0).await.unwrap(), None);
}
