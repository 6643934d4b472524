// no-migrations: a guardrail in JavaScript. Databases change under a person's eyes:
// no agent runs a migration, and a patch that holds one is looked at first.
import { allow, ask, bash, commandText, deny, example, matches, patch, programNames, settingsOf } from "./selfheal.js";

const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    migration_paths: { type: "array", items: { type: "string" }, description: "Globs of files that hold migrations" },
    migration_words: { type: "array", items: { type: "string" }, description: "Arguments that start a migration" },
  },
};

const DEFAULTS = {
  migration_paths: ["**/migrations/**", "db/migrate/**", "alembic/versions/**", "*.sql"],
  migration_words: ["migrate", "db:migrate", "upgrade", "downgrade", "migrate:latest"],
};
const RUNNERS = ["alembic", "rake", "rails", "manage.py", "flask", "knex", "prisma", "sequelize", "dbmate", "flyway"];
const CLIENTS = ["psql", "mysql", "mariadb", "sqlite3", "mongosh"];
const DEFINITION = /\b(create|alter|drop|truncate)\s+(table|index|schema|database|view|column)\b/i;

let settings;

export function configure(json) {
  settings = settingsOf(json, DEFAULTS);
}

/** Whether a word of the command is a runner's name: `python3 manage.py migrate`, `npx prisma migrate`. */
const names = (command, known) =>
  programNames(command).some((name) => known.includes(name)) ||
  command.arguments.some((word) => known.includes(word.text.split("/").pop()));

export const judge = {
  judgeToolCall(context, call) {
    for (const command of call.commands) {
      const words = command.arguments.map((word) => word.text);
      if (names(command, RUNNERS) && words.some((word) => settings.migration_words.includes(word))) {
        return deny("no-migrations.run", "a person runs migrations", { shows: commandText(command) });
      }
      if (programNames(command).some((name) => CLIENTS.includes(name)) && words.some((word) => DEFINITION.test(word))) {
        return deny("no-migrations.definition", "an agent does not change a database's definition", {
          shows: commandText(command),
        });
      }
    }
    return allow();
  },

  judgePatch(context, patch) {
    for (const file of patch.files) {
      if (settings.migration_paths.some((pattern) => matches(pattern, file.path))) {
        return ask("no-migrations.patch", "a person looks at migrations", { shows: file.path });
      }
      const line = file.added.find((added) => DEFINITION.test(added));
      if (line !== undefined) {
        return ask("no-migrations.definition", "a person looks at changes of a database's definition", { shows: line.trim() });
      }
    }
    return allow();
  },
};

export function describe() {
  const change = (path, added) => patch(path, ["a = 1"], [added]);
  return {
    name: "no-migrations",
    version: "1.0.0",
    kind: "guardrail",
    settingsSchema: JSON.stringify(SCHEMA),
    examples: [
      example("tests run", bash("python3 -m pytest -q"), "allow"),
      example("git upgrades nothing", bash("git status --short"), "allow"),
      example("no migration", bash("python3 manage.py migrate"), "deny"),
      example("nor by another runner", bash("alembic upgrade head"), "deny"),
      example("a plain patch", change("shop/cart.py", "a = 2"), "allow"),
      example("a migration is looked at", change("shop/migrations/0002_price.py", "a = 2"), "ask"),
      example("so is a definition in code", change("shop/db.py", "cursor.execute('DROP TABLE carts')"), "ask"),
      example("the settings count", change("schema/a.txt", "a = 2"), "ask", { settings: { migration_paths: ["schema/**"] } }),
    ],
  };
}
