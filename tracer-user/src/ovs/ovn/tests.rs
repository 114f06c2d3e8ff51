use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::*;

#[test]
fn a_cookie_is_the_beginning_of_a_uuid() {
    assert_eq!(uuid_start("0xcd5edc4b").as_deref(), Some("cd5edc4b"));
    assert_eq!(uuid_start("0x77").as_deref(), Some("00000077"));
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
    let flow = logical_flow(&row, &reference(&row["_uuid"]).unwrap());
    assert_eq!((flow.table, flow.priority, flow.stage.as_deref()), (4, 2001, Some("ls_out_acl")));
    assert_eq!(flow.uuid, "cd5edc4b-1111-2222-3333-444455556666");
    assert!(reference(&row["logical_datapath"]).unwrap().starts_with("11111111-"));
    assert_eq!(map_value(&row["external_ids"], "stage-hint").as_deref(), Some("9a9b9c9d"));
    assert_eq!(reference(&json!(["set", []])), None);
}

#[test]
fn remotes_that_need_keys_are_passed_over() {
    assert_eq!(reachable("ssl:10.0.0.1:6642, tcp:10.0.0.2:6642"), Some("tcp:10.0.0.2:6642".into()));
    assert_eq!(reachable("ssl:10.0.0.1:6642"), None);
}

/// A real database server with OVN's own schema, where the machine has both.
struct Server {
    child: Child,
    remote: String,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn server(schema: &str) -> Option<Server> {
    let schema = PathBuf::from("/usr/share/ovn").join(schema);
    let dir = tempfile::tempdir().unwrap();
    let (db, socket) = (dir.path().join("db"), dir.path().join("db.sock"));
    let made = Command::new("ovsdb-tool").arg("create").arg(&db).arg(&schema).output();
    if !schema.exists() || !made.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: no ovsdb-tool, or no {}", schema.display());
        return None;
    }
    let child = Command::new("ovsdb-server")
        .args(["--no-chdir", "--unixctl=none"])
        .arg(format!("--remote=punix:{}", socket.display()))
        .arg(&db)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let remote = format!("unix:{}", socket.display());
    let server = Server { child, remote, _dir: dir };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while rpc::unix("ovsdb", &socket, "list_dbs", json!([])).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "ovsdb-server does not start");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Some(server)
}

async fn insert(database: &Database, server: &Server, table: &str, row: Value) -> String {
    let params = json!([database.name, {"op": "insert", "table": table, "row": row}]);
    let path = server.remote.strip_prefix("unix:").unwrap();
    let answer = rpc::unix("ovsdb", Path::new(path), "transact", params).await.unwrap();
    reference(&answer[0]["uuid"]).unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "current_thread")]
async fn a_cookie_leads_to_the_logical_flow_and_its_acl() {
    let (south, north) = (server("ovn-sb.ovsschema").await, server("ovn-nb.ovsschema").await);
    let (Some(south), Some(north)) = (south, north) else { return };
    let rule = json!({"direction": "to-lport", "priority": 1001, "match": "ip4 && tcp.dst == 80",
                      "action": "drop", "name": "deny-web"});
    // An ACL belongs to a switch, or the database forgets it.
    let params = json!(["OVN_Northbound",
        {"op": "insert", "table": "ACL", "row": rule, "uuid-name": "acl"},
        {"op": "insert", "table": "Logical_Switch",
         "row": {"name": "sw0", "acls": ["named-uuid", "acl"]}}]);
    let path = north.remote.strip_prefix("unix:").unwrap();
    let answer = rpc::unix("ovsdb", Path::new(path), "transact", params).await.unwrap();
    let acl = reference(&answer[0]["uuid"]).unwrap();
    let binding = json!({"tunnel_key": 1, "external_ids": ["map", [["name", "sw0"]]]});
    let datapath = insert(&SOUTH, &south, "Datapath_Binding", binding).await;
    let flow = json!({
        "logical_datapath": ["uuid", datapath], "pipeline": "egress", "table_id": 4,
        "priority": 2001, "match": "ip4 && tcp.dst == 80", "actions": "drop;",
        "external_ids": ["map", [["stage-name", "ls_out_acl"], ["stage-hint", &acl[..8]]]],
    });
    let uuid = insert(&SOUTH, &south, "Logical_Flow", flow).await;
    let found = look_up_at(&south.remote, Some(&north.remote), &uuid[..8]).await.unwrap();
    let (flow, found_acl) = found.unwrap();
    assert_eq!((flow.uuid, flow.table, flow.priority), (uuid, 4, 2001));
    assert_eq!(
        (flow.datapath.as_deref(), flow.stage.as_deref()),
        (Some("sw0"), Some("ls_out_acl"))
    );
    let found_acl = found_acl.unwrap();
    assert_eq!((found_acl.uuid, found_acl.name.as_deref()), (acl, Some("deny-web")));
    assert_eq!((found_acl.direction.as_str(), found_acl.action.as_str()), ("to-lport", "drop"));
    assert_eq!(look_up_at(&south.remote, None, "00000000").await.unwrap(), None);
}
