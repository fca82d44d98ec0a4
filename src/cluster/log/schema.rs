//! The statements.

/// Whether there is a log.
pub(super) const IS_THERE: &str = "select to_regclass('panelsync.fleet') is not null";

/// One at a time makes the schema. The number is any that nobody else uses.
pub(super) const LOCK: &str = "select pg_advisory_xact_lock(5077416219)";

pub(super) const MAKE: &str = "
create schema if not exists panelsync;
create table if not exists panelsync.fleet(
  one bool primary key default true check (one),
  id uuid not null, key_check bytea not null, format int not null,
  base bigint not null, base_tag bytea not null);
create table if not exists panelsync.lead(
  one bool primary key default true check (one),
  reign bigint not null, beat bigint not null, node text not null, url text not null) with (fillfactor = 10);
create table if not exists panelsync.commits(
  number bigint primary key, reign bigint not null, format int not null,
  at timestamptz not null default clock_timestamp(), body bytea not null);
alter table panelsync.commits alter body set storage external;
create table if not exists panelsync.nodes(
  name text primary key, url text not null, version text not null, format int not null,
  applied bigint not null, tag bytea not null, run uuid not null, seen timestamptz not null) with (fillfactor = 10);
";

pub(super) const FLEET: &str = "select id, key_check, format, base, base_tag from panelsync.fleet";

pub(super) const FOUND: &str = "insert into panelsync.fleet(id, key_check, format, base, base_tag) values ($1, $2, $3, $4, $5) on conflict do nothing";

pub(super) const FOUND_LEAD: &str =
    "insert into panelsync.lead(reign, beat, node, url) values (0, 0, '', '') on conflict do nothing";

pub(super) const SET_FORMAT: &str =
    "update panelsync.fleet set format = $1, base = $2, base_tag = $3 where format < $1";

pub(super) const APPEND: &str = "
with entry as (insert into panelsync.commits(number, reign, format, body) values ($1, $2, $3, $4) returning number)
select pg_notify('panelsync', number::text) from entry";

/// Entries in order, as long as those before take no more than so many bytes together.
pub(super) const AFTER: &str = "
select number, reign, format, body from (
  select number, reign, format, body,
    coalesce(sum(octet_length(body)) over (order by number rows between unbounded preceding and 1 preceding), 0) as before
  from (select * from panelsync.commits where number > $1 order by number limit $2) picked) sized
where before <= $3 order by number";

pub(super) const TAG_AT: &str = "
select (select substring(body from octet_length(body) - 15) from panelsync.commits where number = $1),
  (select min(number) from panelsync.commits), (select max(number) from panelsync.commits)";

pub(super) const ENROL: &str = "
insert into panelsync.nodes(name, url, version, format, applied, tag, run, seen)
values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
on conflict (name) do update set url = excluded.url, version = excluded.version, format = excluded.format,
  applied = excluded.applied, tag = excluded.tag, run = excluded.run, seen = excluded.seen";

/// What every look gives. The tag of a node is compared where the log has its last entry.
macro_rules! seen {
    () => {
        "
select lead.reign, lead.beat, lead.node, lead.url,
  coalesce((select max(number) from panelsync.commits), (select base from panelsync.fleet)) as last,
  nodes.name, nodes.url, nodes.version, nodes.applied,
  extract(epoch from clock_timestamp() - nodes.seen)::float8,
  (select substring(body from octet_length(body) - 15) = nodes.tag
     from panelsync.commits where number = nodes.applied),
  nodes.run
from panelsync.lead left join panelsync.nodes on true order by nodes.name"
    };
}

/// The change is not seen by the rest of the statement: what this node shows is there at the next look.
pub(super) const LOOK: &str = concat!(
    "with mine as (update panelsync.nodes set applied = $3, tag = $4, seen = clock_timestamp() where name = $1 and run = $2)",
    seen!()
);

pub(super) const PEEK: &str = seen!();

pub(super) const TAKE_LEAD: &str = "
with taken as (
  update panelsync.lead set reign = reign + 1, beat = 0, node = $3, url = $4 where reign = $1 and beat = $2 returning reign)
select reign, pg_notify('panelsync', '') from taken";

pub(super) const BEAT: &str = "update panelsync.lead set beat = beat + 1 where reign = $1 and node = $2";

pub(super) const RELEASE: &str = "
with released as (
  update panelsync.lead set beat = beat + 1, node = '', url = '' where reign = $1 and node = $2 returning reign)
select pg_notify('panelsync', '') from released";

pub(super) const LEAVE: &str =
    "update panelsync.nodes set run = '00000000-0000-0000-0000-000000000000' where name = $1 and run = $2";

pub(super) const REMOVE_NODE: &str = "
delete from panelsync.nodes where name = $1
  and (extract(epoch from clock_timestamp() - seen)::float8 > $2 or run = '00000000-0000-0000-0000-000000000000')
  and name <> (select node from panelsync.lead)";

pub(super) const TRIM: &str = "
delete from panelsync.commits where number in (
  select number from panelsync.commits
  where number < (select max(number) from panelsync.commits)
    and (number <= (select min(applied) from panelsync.nodes where seen > clock_timestamp() - interval '1 day')
      or ((at < clock_timestamp() - interval '1 day' or (select pg_total_relation_size('panelsync.commits')) > 4294967296)
        and number <= (select coalesce(min(applied), 9223372036854775807) from panelsync.nodes
          where seen > clock_timestamp() - interval '1 minute')))
  order by number limit 1000)";

pub(super) const RISKS: &str = "
select 'fsync is off: a crash of the database can lose or damage the log' where current_setting('fsync') = 'off'
union all
select 'synchronous_commit is off: a crash of the database loses what was acknowledged'
  where current_setting('synchronous_commit') = 'off'
union all
select 'full_page_writes is off: a crash of the database can damage the log'
  where current_setting('full_page_writes') = 'off'
union all
select 'there is no synchronous standby: it survives the loss of a node, not of the database''s disk'
  where current_setting('synchronous_standby_names') = ''
union all
select 'a transaction is open since ' || date_trunc('second', xact_start)
    || ', which keeps the database from tidying up: ' || coalesce(application_name, '')
  from pg_stat_activity where xact_start < now() - interval '10 minutes' and pid <> pg_backend_pid()
    and backend_type = 'client backend'";
