"""The study's database: schema, migrations, storage."""
