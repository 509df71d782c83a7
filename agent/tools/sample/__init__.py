"""A small shop to try the database tool on: `DATABASE_URL=sqlite:///agent/tools/sample/shop.sqlite`."""
