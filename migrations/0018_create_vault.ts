import { type Kysely, sql } from 'kysely';

/** Sealed secrets with who may use them where, and secrets that are asked for in a chat. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(tables).execute(db);
  await sql.raw(bell).execute(db);
}

const tables = /* sql */ `
  create table vault_secret (
    id uuid primary key,
    name text not null unique check (name ~ '^[a-z][a-z0-9_-]{0,63}$'),
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    last_used_by text
  );

  -- The newest version of a secret is handed out; older ones are only known, so that they are still taken out of what
  -- is said. The seal binds secret, version, agents and hosts: a row that was changed or moved does not open.
  create table vault_version (
    secret_id uuid not null references vault_secret (id) on delete cascade,
    version integer not null check (version > 0),
    agents text[] not null,
    hosts text[] not null,
    -- The key that wraps the key of this version.
    kek_id text not null,
    wrapped_key bytea not null,
    -- Nonce, ciphertext and tag.
    sealed bytea not null check (octet_length(sealed) > 28),
    created_at timestamptz not null default clock_timestamp(),
    created_by uuid references person (id),
    superseded_at timestamptz,
    primary key (secret_id, version)
  );
  create index vault_version_kek on vault_version (kek_id);
  create unique index vault_version_newest on vault_version (secret_id) where superseded_at is null;

  -- A value that a person was asked for: where it goes when it comes.
  alter table answer_prompt
    add column secret jsonb,
    drop constraint answer_prompt_check,
    add constraint answer_prompt_subject check (num_nonnulls(approval_id, question_id, secret) = 1);
  create index answer_prompt_secret on answer_prompt (thread_key, person_id) where secret is not null;
`;

/** Every process learns of a change at once: what is new must not be seen, what is gone must not be handed out. */
const bell = /* sql */ `
  create function vault_changed() returns trigger language plpgsql as $$
  begin
    perform pg_notify('vault', '');
    return null;
  end $$;
  create trigger vault_version_changed after insert or update or delete on vault_version
    for each statement execute function vault_changed();
`;
