// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/metadata.h"

#include <tuple>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/log/base/terms.h"
#include "raft/log/directory/dets.h"

namespace rakv::raftlog {
namespace {

Result<std::vector<std::string>> read_rows(Disk& disk, const std::string& path) {
  const auto bytes = read_file(disk, path);
  if (!bytes) {
    if (bytes.error().code == ErrorCode::not_found) return std::vector<std::string>{};
    return bytes.error();
  }
  if (!dets_seal_fits(*bytes)) {
    return make_error(ErrorCode::corrupt,
                      path + ": its checksum does not fit; restore the file from a copy");
  }
  auto content = read_dets(path, *bytes);
  if (!content) return content.error();
  return std::move(content->objects);
}

Result<void> write_rows(Disk& disk, const std::string& path,
                        const std::vector<std::string>& objects, Seal seal) {
  auto bytes = write_dets(objects);
  if (!bytes) return bytes.error();
  if (seal == Seal::yes) seal_dets(*bytes);
  return replace_file(disk, path, *bytes);
}

Error bad_row(const std::string& path, const std::string& expected) {
  return make_error(ErrorCode::corrupt, path + ": has a row that is not " + expected +
                                            "; restore the file from a copy");
}

/// An integer, or 0 for `undefined`.
std::optional<std::uint64_t> number_or_undefined(etf::Cursor& cursor) {
  if (cursor.is_atom("undefined")) return 0;
  return cursor.u64();
}

bool read_meta_row(const std::string& object, MetaRow& row) {
  etf::Cursor cursor(object);
  if (!cursor.version() || !cursor.tuple(4)) return false;
  const auto uid = cursor.binary();
  const auto term = number_or_undefined(cursor);
  if (!uid || !term) return false;
  row.uid = std::string(*uid);
  row.term = *term;
  if (!cursor.is_atom("undefined")) {
    row.voted_for = read_server_id(cursor);
    if (!row.voted_for) return false;
  }
  const auto last_applied = number_or_undefined(cursor);
  row.last_applied = last_applied.value_or(0);
  return last_applied && cursor.at_end();
}

}  // namespace

Result<std::vector<NameRow>> read_names(Disk& disk, const std::string& path) {
  auto objects = read_rows(disk, path);
  if (!objects) return objects.error();
  std::map<std::string, std::string> by_name;
  for (const auto& object : *objects) {
    etf::Cursor cursor(object);
    if (!cursor.version() || !cursor.tuple(2)) return bad_row(path, "{Name, UId}");
    const auto name = cursor.atom();
    const auto uid = cursor.binary();
    if (!name || !uid || !cursor.at_end()) return bad_row(path, "{Name, UId}");
    by_name[std::string(*name)] = std::string(*uid);
  }
  std::vector<NameRow> rows;
  rows.reserve(by_name.size());
  for (auto& [name, uid] : by_name) rows.push_back({name, uid});
  return rows;
}

Result<std::vector<MetaRow>> read_meta(Disk& disk, const std::string& path) {
  auto objects = read_rows(disk, path);
  if (!objects) return objects.error();
  std::map<std::string, MetaRow> by_uid;
  for (const auto& object : *objects) {
    MetaRow row;
    if (!read_meta_row(object, row)) return bad_row(path, "{UId, Term, VotedFor, LastApplied}");
    auto [at, fresh] = by_uid.try_emplace(row.uid, row);
    if (!fresh &&
        std::tie(row.term, row.last_applied) > std::tie(at->second.term, at->second.last_applied)) {
      at->second = std::move(row);
    }
  }
  std::vector<MetaRow> rows;
  rows.reserve(by_uid.size());
  for (auto& [uid, row] : by_uid) rows.push_back(std::move(row));
  return rows;
}

Result<void> write_names(Disk& disk, const std::string& path, const std::vector<NameRow>& rows,
                         Seal seal) {
  std::vector<std::string> objects;
  for (const auto& row : rows) {
    etf::Writer writer;
    writer.version().tuple(2).atom(row.name).binary(row.uid);
    objects.push_back(writer.take());
  }
  return write_rows(disk, path, objects, seal);
}

Result<void> write_meta(Disk& disk, const std::string& path, const std::vector<MetaRow>& rows,
                        Seal seal) {
  std::vector<std::string> objects;
  for (const auto& row : rows) {
    etf::Writer writer;
    writer.version().tuple(4).binary(row.uid).u64(row.term);
    if (row.voted_for) {
      write_server_id(writer, *row.voted_for);
    } else {
      writer.atom("undefined");
    }
    writer.u64(row.last_applied);
    objects.push_back(writer.take());
  }
  return write_rows(disk, path, objects, seal);
}

std::string meta_path(const std::string& system_directory) {
  return system_directory + "/meta.dets";
}

std::string reserve_path(const std::string& system_directory) {
  return system_directory + "/rakv.reserve";
}

Result<void> write_meta_with_reserve(Disk& disk, const std::string& system_directory,
                                     const std::vector<MetaRow>& rows) {
  const std::string path = meta_path(system_directory);
  auto done = write_meta(disk, path, rows);
  if (!done && done.error().code == ErrorCode::no_space &&
      disk.unlink(reserve_path(system_directory))) {
    done = write_meta(disk, path, rows);
  }
  return done;
}

}  // namespace rakv::raftlog
