-- A turn begins: from here on the next one may wait behind it.
create function fanfold.job_turn_begin(p_queue_id bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $f$
  update fanfold.pgqueuer set dedupe_key = null where id = p_queue_id
$f$
