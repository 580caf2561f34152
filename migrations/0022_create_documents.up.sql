-- Phase: 3
-- Why: uploaded files and their pieces.
-- Lock: SHARE ROW EXCLUSIVE on public.users from the foreign keys to the end of the run: writes there wait, reads do
--   not.

create type public.documentstatus as enum ('PROCESSING', 'COMPLETED', 'FAILED');

create table public.documents (
  id uuid not null default gen_random_uuid(),
  filename varchar not null,
  user_id integer not null,
  created_at timestamptz not null default now(),
  status public.documentstatus not null default 'PROCESSING',
  constraint documents_pkey primary key (id),
  constraint documents_user_id_fkey foreign key (user_id) references public.users (id)
    on delete cascade
);

create index ix_documents_user_id on public.documents (user_id);

comment on table public.documents is
  'Uploaded files. Written by the document service.';
comment on column public.documents.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.documents.filename is 'Name of the uploaded file.';
comment on column public.documents.user_id is 'The user the row belongs to.';
comment on column public.documents.created_at is 'When the row was made; set by the server.';
comment on column public.documents.status is 'Progress of the processing; written by the document worker.';

create table public.document_chunks (
  id uuid not null default gen_random_uuid(),
  document_id uuid not null,
  chunk_index integer not null,
  content text not null,
  vector_id varchar,
  semantic_keywords jsonb,
  semantic_category varchar,
  semantic_summary text,
  extracted_entities jsonb,
  constraint document_chunks_pkey primary key (id),
  constraint _document_chunk_index_uc unique (document_id, chunk_index),
  constraint document_chunks_document_id_fkey foreign key (document_id) references public.documents (id)
    on delete cascade
);

create index ix_document_chunks_document_id on public.document_chunks (document_id);

comment on table public.document_chunks is
  'Pieces of a document, each with its vector''s key. Written by the document worker.';
comment on column public.document_chunks.id is 'Key of the row; made by the server unless the application sends one.';
comment on column public.document_chunks.document_id is 'Document the piece comes from.';
comment on column public.document_chunks.chunk_index is 'Position inside the document, from 0.';
comment on column public.document_chunks.content is 'Text of the piece.';
comment on column public.document_chunks.vector_id is 'Key of the piece''s vector in the vector store.';
comment on column public.document_chunks.semantic_keywords is 'Keywords found by analysis, as JSON.';
comment on column public.document_chunks.semantic_category is 'Category found by analysis.';
comment on column public.document_chunks.semantic_summary is 'Summary made by analysis.';
comment on column public.document_chunks.extracted_entities is 'Names and things found, as JSON.';
