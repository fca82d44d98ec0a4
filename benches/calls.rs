//! Calls as they are sent, over one connection or many, and what came of them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::line::{Line, request};
use crate::served::{ITEMS, Server, profiles};
use crate::several::WAIT;

/// Connections of calls that come at once.
pub const MANY: usize = 64;

/// What a connection sends, one after the other.
pub type Requests = Rc<Vec<Vec<u8>>>;

pub fn id(panel: usize) -> String {
    format!("panel-{panel:06}")
}

/// What so many of them take no longer than.
pub fn at(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(((times.len().saturating_sub(1)) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

pub fn batch_request(batch: &Value, token: &str, wait: u32) -> Vec<u8> {
    let headers = format!("Content-Type: application/json\r\nPrefer: wait={wait}\r\n");
    request("POST", "/fleet/v1/batches", token, &headers, &batch.to_string())
}

/// For each connection its batches: one to each panel.
pub fn lists(panels: usize, own: usize, variant: usize, token: &str) -> Vec<Requests> {
    let ask = |panel: usize| {
        let mut upsert = Vec::new();
        for part in 0..own / ITEMS {
            let mut of_it = profiles((variant * panels + panel) * own + part);
            for (n, profile) in of_it.iter_mut().enumerate() {
                profile["link_id"] = format!("91c615e3-1040-4815-8ecb-{:012x}", part * ITEMS + n).into();
            }
            upsert.extend(of_it);
        }
        batch_request(&json!({ "panels": [id(panel)], "upsert": upsert }), token, WAIT)
    };
    (0..MANY).map(|n| Rc::new((n..panels).step_by(MANY).map(ask).collect())).collect()
}

/// A session at the first panel, by the panel API.
pub fn session(server: &Server) -> String {
    let md5 = panelsync::access::PasswordMd5::of("bench").into_hex();
    let url =
        format!("http://{}/panels/{}/api/v1/login?username=admin&password={md5}", server.address(), id(0));
    let answer = ureq::get(url).call().expect("an answer").body_mut().read_to_string().expect("a body");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["token"].as_str().expect("a token").to_owned()
}

/// Calls of the panel API that each change one profile.
pub fn link_requests(token: &str) -> Requests {
    let path = format!("/panels/{}/api/v1/access/timeprofile/items/link", id(0));
    let ask = |variant| {
        let body = json!({ "list_items": &profiles(variant)[..1] }).to_string();
        request("POST", &path, token, "Content-Type: application/json\r\n", &body)
    };
    Rc::new((0..MANY).map(ask).collect())
}

/// What came of calls.
pub struct Calls {
    /// Milliseconds of each.
    each: Vec<f64>,
    pub seconds: f64,
}

impl Calls {
    pub fn rate(&self) -> f64 {
        self.each.len() as f64 / self.seconds
    }

    pub fn p50(&self) -> f64 {
        at(&self.each, 0.5)
    }
}

/// Each connection makes its calls one after the other, again and again for so long, or once.
pub async fn calls(at: SocketAddr, lists: &[Requests], seconds: Option<f64>) -> Calls {
    let lines = join_all(lists.iter().map(|_| Line::to(at))).await;
    let started = Instant::now();
    let connection = |(n, (mut line, requests)): (usize, (Line, &Requests))| {
        let requests = Rc::clone(requests);
        async move {
            let mut each = Vec::new();
            while seconds.map_or(each.len() < requests.len(), |most| started.elapsed().as_secs_f64() < most) {
                let began = Instant::now();
                line.ask(&requests[(n + each.len()) % requests.len()]).await;
                each.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            each
        }
    };
    let each = join_all(lines.into_iter().zip(lists).enumerate().map(connection)).await.concat();
    Calls { each, seconds: started.elapsed().as_secs_f64() }
}
